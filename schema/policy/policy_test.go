package policy

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestParseGood(t *testing.T) {
	for _, file := range fixtures(t, "good") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			docs, err := parseFile(t, file, ParseStrict)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(docs, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".json", append(got, '\n'))
		})
	}
}

func TestParseBad(t *testing.T) {
	for _, file := range fixtures(t, "bad") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			docs, err := parseFile(t, file, ParseStrict)
			if err == nil {
				t.Fatalf("accepted as %+v", docs)
			}
			if docs != nil {
				t.Errorf("documents beside the error: %+v", docs)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".err", []byte(err.Error()+"\n"))

			// What KubeArmor's CRD takes is taken, with warnings: there is a file that
			// says how.
			docs, err = parseFile(t, file, Parse)
			taken := strings.TrimSuffix(file, ".yaml") + ".taken.json"
			if _, notTaken := os.Stat(taken); err != nil && notTaken != nil {
				return
			}
			got, _ := json.MarshalIndent(docs, "", "  ")
			golden(t, taken, append(got, '\n'))
		})
	}
}

func TestParseTooLarge(t *testing.T) {
	_, err := Parse("large.yaml", strings.NewReader(strings.Repeat("# comment\n", maxFileBytes/10+1)))
	if err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Fatalf("error %v", err)
	}
}

func fixtures(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures in %s: %v", dir, err)
	}
	return files
}

// parseFile gives Parse the bare name of the file, so that golden errors are the
// same wherever the test runs.
func parseFile(t *testing.T, file string, parse func(string, io.Reader) ([]Document, error)) ([]Document, error) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parse(filepath.Base(file), bytes.NewReader(data))
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("differs from %s (-want +got):\n%s", file, diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, dir := range []string{"good", "bad"} {
		files, _ := filepath.Glob(filepath.Join("testdata", dir, "*.yaml"))
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := Parse("fuzz.yaml", bytes.NewReader(data))
		if strict, strictErr := ParseStrict("fuzz.yaml", bytes.NewReader(data)); strictErr == nil && len(strict) != len(docs) {
			t.Errorf("strictly there are %d documents, else %d, %v", len(strict), len(docs), err)
		}
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "fuzz.yaml:") {
					t.Errorf("an error without its place: %q", line)
				}
			}
			return
		}
		for _, d := range docs {
			checkDocument(t, d)
		}
	})
}

// checkDocument checks what the doc comments promise of every document.
func checkDocument(t *testing.T, d Document) {
	t.Helper()
	if d.Name == "" || d.Origin == "" || (d.Kind != KindPolicy && d.Kind != KindClusterPolicy) {
		t.Errorf("incomplete document %+v", d)
	}
	check := func(e Effect, what ...string) {
		given := 0
		for _, w := range what {
			if w != "" {
				given++
			}
		}
		if given != 1 {
			t.Errorf("%d of %q are set, not one", given, what)
		}
		if e.Action != ActionAllow && e.Action != ActionAudit && e.Action != ActionBlock {
			t.Errorf("action %q", e.Action)
		}
		if e.Severity < 0 || e.Severity > 10 {
			t.Errorf("severity %d", e.Severity)
		}
	}
	for _, p := range d.Process {
		check(p.Effect, p.Path, p.ExecName, p.Dir, p.Pattern)
		checkPath(t, p.Path, p.Dir)
	}
	for _, p := range d.File {
		check(p.Effect, p.Path, p.Dir, p.Pattern)
		checkPath(t, p.Path, p.Dir)
	}
	for _, p := range d.Network {
		endpoint := ""
		if p.Endpoint != nil {
			endpoint = p.Endpoint.String()
		}
		check(p.Effect, p.Protocol, p.Domain, endpoint)
	}
	for _, p := range d.Capabilities {
		check(p.Effect, p.Capability)
	}
	for _, p := range d.Syscalls {
		check(p.Effect, strings.Join(p.Syscalls, ","))
	}
	for _, p := range d.Presets {
		check(p.Effect, p.Name)
	}
	d.Selects(Target{Container: "c", Labels: map[string]string{"a": "b"}})
}

func checkPath(t *testing.T, path, dir string) {
	t.Helper()
	if path != "" && (path[0] != '/' || filepath.Clean(path) != path) {
		t.Errorf("path %q is not clean", path)
	}
	if dir != "" && (dir[0] != '/' || !strings.HasSuffix(dir, "/") || (dir != "/" && filepath.Clean(dir)+"/" != dir)) {
		t.Errorf("directory %q is not clean", dir)
	}
}
