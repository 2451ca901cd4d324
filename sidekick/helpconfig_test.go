package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs/catalog"
	"github.com/sidearmor/sidearmor/sidekick/internal/config"
)

// helped runs sidekick help config.
func helped(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), append([]string{"help", "config"}, args...), nil, &out, &errs)
	return status, out.String(), errs.String()
}

func TestHelpConfig(t *testing.T) {
	status, out, errs := helped(t)
	if status != 0 || errs != "" {
		t.Fatalf("exit status %d: %s", status, errs)
	}
	for line := range strings.Lines(out) {
		if line = strings.TrimSuffix(line, "\n"); len(line) > screen || strings.HasSuffix(line, " ") {
			t.Errorf("does not fit: %q", line)
		}
	}
	seen := map[string]bool{}
	for _, section := range config.Explain(catalog.Kinds()) {
		for _, s := range section.Settings {
			if s.Usage == "" || seen[s.Variable] {
				t.Errorf("%s: no usage, or there twice", s.Variable)
			}
			seen[s.Variable] = true
			if !strings.Contains(out, "\n  "+s.Variable+"  "+s.Path) {
				t.Errorf("%s is missing", s.Variable)
			}
		}
	}
	for _, want := range []string{
		"\n  LISTENPORT  listenport\n      port, 0 for any free one (default 2801)\n",
		"\n  AUTH_TOKEN  auth.token  (secret)\n",
		"\n  <OUTPUT>_FILTER  <output>.filter\n",
		"\nslack, on with SLACK_WEBHOOKURL:\n  SLACK_WEBHOOKURL  slack.webhookurl  (secret)\n",
		"\n  AWS_REGION  aws.region\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestHelpConfigOfOne(t *testing.T) {
	status, out, errs := helped(t, "awss3")
	if status != 0 || errs != "" || !strings.HasPrefix(out, "\nawss3, on with AWS_S3_BUCKET, gets KubeArmor logs:\n") || strings.Contains(out, "SLACK") {
		t.Errorf("exit status %d: %s\n%s", status, out, errs)
	}
	if status, out, errs := helped(t, "nope"); status != 1 || out != "" || !strings.Contains(errs, `there is no output "nope", use one of: slack, discord`) {
		t.Errorf("exit status %d: %s\n%s", status, out, errs)
	}
	if status, _, _ := helped(t, "a", "b"); status != 2 {
		t.Errorf("exit status %d", status)
	}
}

// settingsTable is the settings as the documents have them.
func settingsTable(settings []config.Explained) string {
	var b strings.Builder
	b.WriteString("| variable | YAML key | type | default | |\n|---|---|---|---|---|\n")
	for _, s := range settings {
		byDefault, said := "-", s.Doc
		if s.Default != "" {
			byDefault = "`" + s.Default + "`"
		}
		if s.Secret {
			said = strings.TrimSpace("Secret. " + said)
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s |\n", s.Variable, s.Path, s.Type, byDefault, said)
	}
	return b.String()
}

// The tables in the documents are made of what the program reads its settings by.
func TestDocumentedSettings(t *testing.T) {
	all := config.Explain(catalog.Kinds())
	ofGRPC := slices.DeleteFunc(slices.Clone(all[0].Settings), func(s config.Explained) bool {
		return !strings.HasPrefix(s.Path, "grpc.") && !strings.HasPrefix(s.Path, "kubearmor.")
	})
	for name, settings := range map[string][]config.Explained{
		"sidekick/configure.md": slices.Concat(all[0].Settings, all[1].Settings), "grpc.md": ofGRPC,
	} {
		const begin, end = "<!-- settings: go test ./sidekick -run TestDocumentedSettings -update -->\n", "<!-- end of settings -->\n"
		path := "../docs/" + name
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, found := strings.Cut(string(text), begin)
		documented, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			t.Fatalf("%s has no place for the settings", name)
		}
		want := settingsTable(settings)
		if update() {
			if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if documented != want {
			t.Errorf("%s differs from the table of settings (-update writes it); want\n%s", name, want)
		}
	}
}
