package observability

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const docs = "../../docs"

// expression is one query and where it is from.
type expression struct{ where, text string }

var metricName = regexp.MustCompile(`\b(?:sidearmor|falcosecurity|process|go)_[a-z0-9_]+`)

// metrics are the names in it as /metrics declares them: without what is added for
// the parts of a histogram.
func (e expression) metrics() []string {
	var names []string
	for _, name := range metricName.FindAllString(e.text, -1) {
		if base, ok := strings.CutSuffix(name, "_bucket"); ok {
			name = base
		}
		names = append(names, name)
	}
	return names
}

type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Datasource  struct{ UID string }
	Targets     []struct {
		Expr       string
		Datasource struct{ UID string }
	}
}

type board struct {
	UID, Title string
	Panels     []panel
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(append([]string{docs}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func dashboard(t *testing.T) board {
	t.Helper()
	var b board
	if err := json.Unmarshal(read(t, "observability", "dashboard.json"), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal(read(t, "observability", "rules.yml"), &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// expressions are all that the dashboard and the rules ask.
func expressions(t *testing.T) []expression {
	t.Helper()
	var all []expression
	for _, p := range dashboard(t).Panels {
		for _, target := range p.Targets {
			all = append(all, expression{"panel " + p.Title, target.Expr})
		}
	}
	for _, r := range rules(t) {
		all = append(all, expression{"alert " + r.Alert, r.Expr})
	}
	if len(all) < 40 {
		t.Fatalf("only %d expressions", len(all))
	}
	return all
}

// The dashboard can be imported: what Grafana would silently show wrong is right.
func TestDashboard(t *testing.T) {
	b := dashboard(t)
	if b.UID == "" || b.Title == "" {
		t.Error("no uid or no title")
	}
	text := string(read(t, "observability", "dashboard.json"))
	for _, v := range b.Templating.List {
		if !strings.Contains(text, "$"+v.Name) && !strings.Contains(text, "${"+v.Name+"}") {
			t.Errorf("variable %s is not used", v.Name)
		}
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range b.Panels {
		if p.Title == "" || ids[p.ID] {
			t.Errorf("panel %d %q has no title, or its id twice", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if at[0] >= 24 || taken[at] != "" {
					t.Fatalf("panel %q does not fit, or lies on %q", p.Title, taken[at])
				}
				taken[at] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q asks nothing, or not the chosen data source", p.Title)
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" || !strings.Contains(target.Expr, `instance=~"$instance"`) {
				t.Errorf("panel %q: %s is not about the chosen source and sidekick", p.Title, target.Expr)
			}
		}
	}
}

// Each alert can be understood by whom it wakes, and is documented.
func TestRules(t *testing.T) {
	readme := string(read(t, "observability", "README.md"))
	for _, r := range rules(t) {
		for _, what := range []string{"summary", "description"} {
			if len(r.Annotations[what]) < 20 {
				t.Errorf("%s: no %s", r.Alert, what)
			}
		}
		severity := r.Labels["severity"]
		if severity != "warning" && severity != "critical" {
			t.Errorf("%s: severity %q", r.Alert, severity)
		}
		if !strings.Contains(readme, "| `"+r.Alert+"` | "+severity+" |") {
			t.Errorf("README.md does not list %s as %s", r.Alert, severity)
		}
		if !strings.Contains(r.Expr, `job="sidearmor"`) {
			t.Errorf("%s is not about the job sidearmor: %s", r.Alert, r.Expr)
		}
	}
}

// Every metric of ours that is asked for is one that the sidekick is documented to
// have, and the other way round.
func TestMetricsExist(t *testing.T) {
	documented := map[string]bool{}
	text := slices.Concat(read(t, "sidekick", "operate.md"), read(t, "grpc.md"))
	for _, m := range regexp.MustCompile("(?m)^\\| `((?:sidearmor|falcosecurity)_[a-z_]+)` \\|").FindAllSubmatch(text, -1) {
		documented[string(m[1])] = true
	}
	if len(documented) < 10 {
		t.Fatalf("only %d metrics in operate.md", len(documented))
	}
	used := map[string]bool{}
	for _, e := range expressions(t) {
		for _, name := range e.metrics() {
			ours := strings.HasPrefix(name, "sidearmor_") || strings.HasPrefix(name, "falcosecurity_")
			used[name] = true
			if ours && !documented[name] {
				t.Errorf("%s asks for %s, which the sidekick does not have", e.where, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(documented)) {
		if !used[name] {
			t.Errorf("neither dashboard nor rules use %s", name)
		}
	}
}

// promtool runs Prometheus' own checks.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("promtool is not installed")
		}
		t.Skip("promtool is not installed")
	}
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtool(t *testing.T) {
	promtool(t, "check", "rules", filepath.Join(docs, "observability", "rules.yml"))
	promtool(t, "check", "config", filepath.Join(docs, "observability", "scrape.yml"))
	promtool(t, "test", "rules", filepath.Join("testdata", "alerts.yml"))
	// Debian's Prometheus knows no Kubernetes, so of the other sample the form is all
	// that can be checked.
	var file struct {
		ScrapeConfigs []struct {
			JobName string `yaml:"job_name"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(read(t, "observability", "scrape-eks.yml"), &file); err != nil || len(file.ScrapeConfigs) != 1 || file.ScrapeConfigs[0].JobName != "sidearmor" {
		t.Errorf("scrape-eks.yml: %+v, %v", file, err)
	}
}

// Every alert has a case in testdata/alerts.yml.
func TestEveryAlertIsTried(t *testing.T) {
	cases, err := os.ReadFile(filepath.Join("testdata", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		if !strings.Contains(string(cases), "alertname: "+r.Alert+"\n") {
			t.Errorf("testdata/alerts.yml does not try %s", r.Alert)
		}
	}
}
