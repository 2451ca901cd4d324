package demo

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/catalog"
	"github.com/sidearmor/sidearmor/schema"
)

func document(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("../../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// rows gives the rows of all tables of a document, without backquotes.
func rows(text string) (all [][]string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "`", ""))
		}
		all = append(all, cells)
	}
	return all
}

// table gives the rows of all tables of a document whose first cell matches, by
// that cell. Of several with the same the last counts.
func table(t *testing.T, text, first string) map[string][]string {
	t.Helper()
	found, match := map[string][]string{}, regexp.MustCompile(`^(?:`+first+`)$`)
	for _, cells := range rows(text) {
		if match.MatchString(cells[0]) {
			found[cells[0]] = cells
		}
	}
	return found
}

// sameKeys reports what is in one table and not in the other.
func sameKeys[A, B any](t *testing.T, where string, documented map[string]A, exist map[string]B) {
	t.Helper()
	for name := range exist {
		if _, ok := documented[name]; !ok {
			t.Errorf("%s does not have %s", where, name)
		}
	}
	for name := range documented {
		if _, ok := exist[name]; !ok {
			t.Errorf("%s has %s, which does not exist", where, name)
		}
	}
}

func TestTracerFlagsAreDocumented(t *testing.T) {
	help, err := exec.Command(filepath.Join(bin(t), "tracer"), "help", "run").Output()
	if err != nil {
		t.Fatal(err)
	}
	columns := regexp.MustCompile(`  +`)
	flags := map[string][]string{}
	for line := range strings.Lines(string(help)) {
		if cells := columns.Split(strings.TrimSpace(line), -1); strings.HasPrefix(cells[0], "--") {
			flags[cells[0]] = cells
		}
	}
	documented := table(t, document(t, "tracer.md"), "--[a-z].*")
	sameKeys(t, "tracer.md", documented, flags)
	for name, cells := range flags {
		if row := documented[name]; row != nil && !slices.Equal(row[:3], cells[:3]) {
			t.Errorf("tracer.md says %q, tracer help run says %q", row[:3], cells[:3])
		}
	}
}

// documentedSettings gives each variable in the tables of outputs.md and of the
// pages below it with its default and what is said of it. A row may have several
// variables, with a default each.
func documentedSettings(t *testing.T) map[string][2]string {
	t.Helper()
	pages, err := filepath.Glob("../../docs/outputs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^[A-Z]+(_[A-Z0-9]+)+$`)
	settings := map[string][2]string{}
	for _, page := range append(pages, "../../docs/outputs.md") {
		for _, row := range rows(document(t, strings.TrimPrefix(page, "../../docs/"))) {
			names, defaults := strings.Split(row[0], ", "), []string{row[1]}
			if len(names) > 1 {
				defaults = strings.Split(row[1], ", ")
			}
			for i, n := range names {
				if !name.MatchString(n) {
					continue
				}
				if _, twice := settings[n]; twice || len(names) != len(defaults) {
					t.Errorf("%s: %s is documented twice, or not each variable of its row has a default", page, n)
					continue
				}
				settings[n] = [2]string{defaults[i], row[2]}
			}
		}
	}
	return settings
}

func TestOutputSettingsAreDocumented(t *testing.T) {
	settings := map[string]outputs.Setting{}
	for _, kind := range catalog.Kinds() {
		for _, s := range kind.Settings {
			settings[variable(cmp.Or(s.Block, kind.Block), cmp.Or(s.Name, s.Key))] = s
		}
		settings[variable(kind.Block, "minimumpriority")] = outputs.Setting{}
		settings[variable(kind.Block, "logs")] = outputs.Setting{Default: strconv.FormatBool(kind.Logs)}
		if kind.Digests {
			settings[variable(kind.Block, "digest_window")] = outputs.Setting{}
		}
	}
	documented := documentedSettings(t)
	sameKeys(t, "docs/outputs", documented, settings)
	for name, s := range settings {
		said, ok := documented[name]
		if !ok {
			continue
		}
		if want := cmp.Or(s.Default, "-"); said[0] != want {
			t.Errorf("docs/outputs says that the default of %s is %q, it is %q", name, said[0], s.Default)
		}
		if s.Secret != strings.HasPrefix(said[1], "secret") {
			t.Errorf("docs/outputs says of %s %q; secret: %v", name, said[1], s.Secret)
		}
	}
}

func TestOutputsAreDocumented(t *testing.T) {
	kinds := map[string]outputs.Kind{}
	for _, k := range catalog.Kinds() {
		kinds[k.Name] = k
	}
	listed := map[string][]string{}
	for name, row := range table(t, document(t, "outputs.md"), "[a-z0-9]+") {
		if len(row) == 5 {
			listed[name] = row
		}
	}
	sameKeys(t, "outputs.md", listed, kinds)
	linked, link := map[string]bool{}, regexp.MustCompile(`\]\(outputs/(.*)\)`)
	for name, row := range listed {
		k := kinds[name]
		logs := map[bool]string{true: "yes", false: "no"}[k.Logs]
		got := []string{strings.ReplaceAll(row[2], ",", ""), row[3], strings.ReplaceAll(row[4], " ", "")}
		if want := []string{strconv.Itoa(k.Limits.BatchEvents), logs, k.Limits.Timeout.String()}; !slices.Equal(got, want) {
			t.Errorf("outputs.md says of %s %q, want %q", name, got, want)
		}
		if m := link.FindStringSubmatch(row[1]); m != nil {
			linked[m[1]] = true
		}
	}
	pages, err := os.ReadDir("../../docs/outputs")
	if err != nil {
		t.Fatal(err)
	}
	exist := map[string]bool{}
	for _, p := range pages {
		exist[p.Name()] = true
	}
	sameKeys(t, "the list in outputs.md", linked, exist)
}

func variable(block, key string) string {
	return strings.ToUpper(strings.ReplaceAll(block, ".", "_") + "_" + key)
}

var yamlFence = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// The sidekick starts with the documented YAML, and has the documented metrics.
func TestSidekickDocument(t *testing.T) {
	text, dir := document(t, "sidekick/configure.md"), t.TempDir()
	sample := yamlFence.FindStringSubmatch(text)
	if sample == nil {
		t.Fatal("no YAML in configure.md")
	}
	hook, config := filepath.Join(dir, "hook"), filepath.Join(dir, "config.yaml")
	body := strings.NewReplacer("/run/secrets/slack", hook, "/var/lib/sidearmor", filepath.Join(dir, "queue")).Replace(sample[1])
	for path, content := range map[string]string{hook: "http://127.0.0.1:9/\n", config: body} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listening := startSidekick(t, environ(dir, "LISTENPORT=0"), "-c", config)
	if listening.Outputs != "slack,awscloudwatchlogs" {
		t.Errorf("the sample turns on %s", listening.Outputs)
	}
	documented := table(t, document(t, "sidekick/operate.md"), "(?:sidearmor|falcosecurity)_.*")
	there := metrics(t, listening.Address)
	there["sidearmor_policy_decisions_total"] = true // once a tracer has told of a policy
	sameKeys(t, "operate.md", documented, there)
}

type listening struct{ Msg, Address, Outputs string }

// startSidekick runs a sidekick to the end of the test and gives what it says when
// it is ready.
func startSidekick(t *testing.T, env []string, args ...string) (found listening) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(bin(t), "sidekick"), args...)
	cmd.Env = env
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Killed: it would otherwise wait for a Slack that is not there.
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &found); err != nil {
			t.Fatal(err)
		}
		if found.Msg == "listening" {
			return found
		}
		t.Log(lines.Text())
	}
	t.Fatal("the sidekick does not start")
	return found
}

// metrics gives the names of ours that a sidekick shows once it has taken one
// event of each family.
func metrics(t *testing.T, address string) map[string]bool {
	t.Helper()
	event := `{"rule":"r","priority":"Debug","time":"2026-01-02T03:04:05Z","output_fields":{"a":"b"}}` + "\n" +
		`{"Type":"ContainerLog","Operation":"File"}`
	resp, err := http.Post("http://"+address+"/", "application/x-ndjson", strings.NewReader(event))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	resp, err = http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	names := map[string]bool{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		word := strings.Fields(lines.Text())
		if word[0] == "#" && word[1] == "TYPE" && (strings.HasPrefix(word[2], "sidearmor_") || strings.HasPrefix(word[2], "falcosecurity_")) {
			names[word[2]] = true
		}
	}
	return names
}

func TestEventFieldsAreDocumented(t *testing.T) {
	body, err := os.ReadFile("../../schema/event.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Defs map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal(body, &s); err != nil {
		t.Fatal(err)
	}
	alert, camel := map[string]bool{}, map[string]bool{}
	for _, row := range table(t, document(t, "events.md"), `[A-Z][A-Za-z]+|-`) {
		if len(row) != 3 || row[0] == "PascalCase" {
			continue
		}
		if row[0] != "-" {
			alert[row[0]] = true
		}
		camel[row[1]] = true
	}
	sameKeys(t, "events.md", alert, s.Defs["Alert"].Properties)
	sameKeys(t, "events.md", camel, s.Defs["StdoutEvent"].Properties)
}

func TestPrioritiesAreDocumented(t *testing.T) {
	rows := table(t, document(t, "events.md"), "alert, .*")
	for first, action := range map[string]string{
		"alert, action Block, by severity": schema.ActionBlock,
		"alert, other action, by severity": schema.ActionAudit,
	} {
		for i, severities := range [][]string{{"", "1", "3"}, {"4", "6"}, {"7", "8"}, {"9", "10"}} {
			for _, severity := range severities {
				e := schema.Event{Alert: &schema.Alert{Action: action, Severity: severity}}
				if row := rows[first]; len(row) != 5 || row[i+1] != e.Priority().String() {
					t.Errorf("events.md: %s %q is %s: %q", action, severity, e.Priority(), row)
				}
			}
		}
	}
}

// What is shown as an event is one.
func TestSampleEventsAreValid(t *testing.T) {
	fence := regexp.MustCompile("(?s)```json\n(.*?)```")
	var kinds []schema.Kind
	for _, m := range fence.FindAllStringSubmatch(document(t, "events.md"), -1) {
		kind, err := schema.Classify([]byte(m[1]))
		if err != nil {
			t.Errorf("%v:\n%s", err, m[1])
		}
		if kind != schema.KindFalco {
			if _, err := schema.Decode([]byte(m[1])); err != nil {
				t.Errorf("%v:\n%s", err, m[1])
			}
		}
		kinds = append(kinds, kind)
	}
	if want := []schema.Kind{schema.KindAlert, schema.KindFalco}; !slices.Equal(kinds, want) {
		t.Errorf("events.md shows %v, want %v", kinds, want)
	}
}

// The tables must not be empty by mistake.
func TestTable(t *testing.T) {
	rows := table(t, "| a | b |\n|---|---|\n| `X_Y` | z |\n", "[A-Z_]+")
	if got := slices.Collect(maps.Keys(rows)); !slices.Equal(got, []string{"X_Y"}) || rows["X_Y"][1] != "z" {
		t.Errorf("%v", rows)
	}
}
