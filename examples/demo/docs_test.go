package demo

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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

// table gives the rows of all tables of a document whose first cell matches, by
// that cell, without backquotes. Of several with the same the last counts.
func table(t *testing.T, text, first string) map[string][]string {
	t.Helper()
	rows, match := map[string][]string{}, regexp.MustCompile(`^(?:`+first+`)$`)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "`", ""))
		}
		if match.MatchString(cells[0]) {
			rows[cells[0]] = cells
		}
	}
	return rows
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

func TestOutputSettingsAreDocumented(t *testing.T) {
	settings := map[string]outputs.Setting{}
	for _, kind := range catalog.Kinds() {
		for _, s := range kind.Settings {
			block := kind.Block
			if s.Block != "" {
				block = s.Block
			}
			settings[variable(block, s.Key)] = s
		}
		settings[variable(kind.Block, "minimumpriority")] = outputs.Setting{}
		logs := outputs.Setting{Default: "false"}
		if kind.Logs {
			logs.Default = "true"
		}
		settings[variable(kind.Block, "logs")] = logs
	}
	documented := table(t, document(t, "outputs.md"), "[A-Z]+_[A-Z_]+")
	sameKeys(t, "outputs.md", documented, settings)
	for name, s := range settings {
		row := documented[name]
		if row == nil {
			continue
		}
		if want := cmp.Or(s.Default, "-"); row[1] != want {
			t.Errorf("outputs.md says that the default of %s is %q, it is %q", name, row[1], s.Default)
		}
		if s.Secret != strings.HasPrefix(row[2], "secret") {
			t.Errorf("outputs.md says of %s %q; secret: %v", name, row[2], s.Secret)
		}
	}
}

func variable(block, key string) string {
	return strings.ToUpper(strings.ReplaceAll(block, ".", "_") + "_" + key)
}

var yamlFence = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// The sidekick starts with the documented YAML, and has the documented metrics.
func TestSidekickDocument(t *testing.T) {
	text, dir := document(t, "sidekick.md"), t.TempDir()
	sample := yamlFence.FindStringSubmatch(text)
	if sample == nil {
		t.Fatal("no YAML in sidekick.md")
	}
	hook, config := filepath.Join(dir, "hook"), filepath.Join(dir, "config.yaml")
	body := strings.NewReplacer("/run/secrets/slack", hook, "/var/lib/sidearmor", filepath.Join(dir, "queue")).Replace(sample[1])
	for path, content := range map[string]string{hook: "http://127.0.0.1:9/\n", config: body} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin(t), "sidekick"), "-c", config)
	cmd.Env = environ(dir, "LISTENPORT=0")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Killed: it would otherwise wait for a Slack that is not there.
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	listening := awaitListening(t, log)
	if listening.Outputs != "slack,awscloudwatchlogs" {
		t.Errorf("the sample turns on %s", listening.Outputs)
	}
	documented := table(t, text, "(?:sidearmor|falcosecurity)_.*")
	sameKeys(t, "sidekick.md", documented, metrics(t, listening.Address))
}

type listening struct{ Msg, Address, Outputs string }

func awaitListening(t *testing.T, log io.Reader) (found listening) {
	t.Helper()
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
