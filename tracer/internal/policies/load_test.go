package policies

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/policydir"
)

func document(name, more string) string {
	return `apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata:
  name: ` + name + `
` + more + `spec:
  selector:
    matchLabels: {app: web}
  process:
    matchPaths:
      - path: /bin/sleep
  action: Block
`
}

func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func names(t *testing.T, path string) (all []string) {
	t.Helper()
	docs, err := Load(path, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range docs {
		all = append(all, d.Name)
	}
	return all
}

func TestLoad(t *testing.T) {
	dir := write(t, map[string]string{
		"b.yml":            document("b", ""),
		"a.yaml":           document("a1", "") + "---\n" + document("a2", ""),
		"c.json":           `{"apiVersion":"security.kubearmor.com/v1","kind":"KubeArmorPolicy","metadata":{"name":"c"},"spec":{"selector":{"matchLabels":{"app":"web"}},"file":{"matchPaths":[{"path":"/s"}]},"action":"Audit"}}`,
		"README.md":        "no policy",
		".hidden.yaml":     "no policy",
		"..data/real.yaml": document("mounted", ""),
		"sub/d.yaml":       document("not read", ""),
		"dir.yaml/e.yaml":  document("not read", ""),
		"empty.yaml":       "",
	})
	// A mounted ConfigMap shows its files as links into a hidden directory.
	if err := os.Symlink("..data/real.yaml", filepath.Join(dir, "real.yaml")); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, dir), []string{"a1", "a2", "b", "c", "mounted"}; !slices.Equal(got, want) {
		t.Errorf("documents %v, want %v", got, want)
	}
	if got := names(t, filepath.Join(dir, "b.yml")); !slices.Equal(got, []string{"b"}) {
		t.Errorf("documents %v of a file", got)
	}
	if got := names(t, t.TempDir()); got != nil {
		t.Errorf("documents %v of nothing", got)
	}
	if got := names(t, ""); got != nil {
		t.Errorf("documents %v of no path", got)
	}
}

func TestLoadRefuses(t *testing.T) {
	many := map[string]string{}
	for i := range policydir.MaxFiles + 1 {
		many[fmt.Sprintf("%d.yaml", i)] = ""
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string // in the error
	}{
		{"no YAML", map[string]string{"bad.yaml": "\n\tx: {"}, []string{"bad.yaml:2"}},
		{"an unknown key", map[string]string{"bad.yaml": document("a", "") + "extra: 1\n"}, []string{"bad.yaml:12", "extra"}},
		{"all that is wrong", map[string]string{"a.yaml": "kind: Pod\n", "b.yaml": "kind: [\n"}, []string{"a.yaml:1", "b.yaml:"}},
		{"twice in one file", map[string]string{"a.yaml": document("x", "") + "---\n" + document("x", "")}, []string{"a.yaml:13", "a.yaml:1", "KubeArmorPolicy x was already defined"}},
		{"twice in two files", map[string]string{"a.yaml": document("x", "  namespace: n\n"), "b.yaml": document("x", "  namespace: n\n")}, []string{"b.yaml:1", "a.yaml:1", "n/x"}},
		{"too many", many, []string{"more than 1000"}},
		{"too large", map[string]string{"a.yaml": strings.Repeat("#", 33<<20)}, []string{"a.yaml", "larger"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			docs, err := Load(write(t, c.files), true)
			if err == nil || docs != nil {
				t.Fatalf("loaded %v", docs)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
	if _, err := Load(write(t, map[string]string{"a.yaml": document("x", "  namespace: n\n"), "b.yaml": document("x", "  namespace: m\n")}), true); err != nil {
		t.Errorf("one name in two namespaces: %v", err)
	}
}

func TestLoadUnreadable(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none"), false); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("error %v", err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, false); err == nil || !strings.Contains(err.Error(), "pipe.yaml: not a regular file") {
		t.Errorf("error %v", err)
	}
	link := t.TempDir()
	if err := os.Symlink("/nowhere", filepath.Join(link, "gone.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(link, false); err == nil || !strings.Contains(err.Error(), "gone.yaml") {
		t.Errorf("error %v", err)
	}
}

// What KubeArmor passes over is passed over, unless it is to be an error.
func TestLoadTakesWhatKubeArmorTakes(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": document("x", "") + "extra: 1\n", "b.yaml": document("x", "")})
	docs, err := Load(dir, false)
	if err != nil || len(docs) != 2 || len(docs[0].Warnings) != 1 || !strings.Contains(docs[0].Warnings[0], "a.yaml:12: ") {
		t.Errorf("%+v, %v", docs, err)
	}
}
