package explain

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// follow is a file system like Debian's.
func follow(path string) (string, error) {
	for _, link := range [][2]string{{"/bin", "/usr/bin"}, {"/var/run", "/run"}, {"/usr/bin/sh", "/usr/bin/dash"}} {
		if path == link[0] || strings.HasPrefix(path, link[0]+"/") {
			return follow(link[1] + strings.TrimPrefix(path, link[0]))
		}
	}
	switch path {
	case "/", "/usr", "/usr/bin", "/usr/bin/dash", "/usr/bin/curl", "/run", "/etc", "/etc/passwd":
		return path, nil
	}
	return "", errors.New("there is no such file")
}

func TestExplain(t *testing.T) {
	for _, name := range []string{"all", "wrong"} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		f := Explain(name+".yaml", text, false, follow)
		golden := filepath.Join("testdata", name+".txt")
		if *update {
			if err := os.WriteFile(golden, []byte(f.Text()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), f.Text()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if doubts := name == "all"; f.Doubts() != doubts {
			t.Errorf("%s: doubts %v", name, !doubts)
		}
	}
}

func TestExplainStrictly(t *testing.T) {
	f := Explain("a.yaml", []byte("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: a}\nspec: {file: {matchPaths: [{path: /a, readonly: true}]}}\n"), true, follow)
	if len(f.Errors) != 1 || !strings.HasPrefix(f.Errors[0], "a.yaml:4: ") || f.Policies != nil {
		t.Errorf("%+v", f)
	}
}

func FuzzExplain(f *testing.F) {
	for _, name := range []string{"all", "wrong"} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e := Explain("f.yaml", text, false, follow)
		if len(e.Errors) > 0 && len(e.Policies) > 0 || e.Text() == "" {
			t.Errorf("%+v", e)
		}
	})
}
