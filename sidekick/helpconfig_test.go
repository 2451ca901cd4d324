package main

import (
	"bytes"
	"os"
	"regexp"
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

// The documents have the same settings as the program, with the same keys and defaults.
func TestDocumentedSettings(t *testing.T) {
	documented := map[string][2]string{}
	row := regexp.MustCompile("(?m)^\\| `([A-Z<][A-Z0-9_<>]*)` \\| `([^`]+)` \\| (\\S.*?) \\|")
	for _, name := range []string{"configure.md", "../grpc.md"} {
		text, err := os.ReadFile("../docs/sidekick/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range row.FindAllStringSubmatch(string(text), -1) {
			documented[m[1]] = [2]string{m[2], m[3]}
		}
	}
	inOutputs := map[string]bool{"MUTUALTLSFILESPATH": true, "<OUTPUT>_MAXCONCURRENTREQUESTS": true} // which are told of elsewhere
	all := config.Explain(catalog.Kinds())
	for _, section := range all[:2] {
		for _, s := range section.Settings {
			d, ok := documented[s.Variable]
			delete(documented, s.Variable)
			switch {
			case inOutputs[s.Variable]:
			case !ok:
				t.Errorf("%s is not documented", s.Variable)
			case d[0] != s.Path || s.Default != "" && d[1] != "`"+s.Default+"`" || s.Default == "" && strings.HasPrefix(d[1], "`"):
				t.Errorf("%s: documented are key %s and default %s, which are %s and %q", s.Variable, d[0], d[1], s.Path, s.Default)
			}
		}
	}
	for name := range documented {
		t.Errorf("%s is documented, and there is none", name)
	}
}
