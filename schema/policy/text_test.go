package policy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const minimal = "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata:\n  name: %s\nspec:\n  action: Block\n  file:\n    matchPaths:\n    - path: /a\n"

func TestSplit(t *testing.T) {
	one, two := fmt.Sprintf(minimal, "one"), fmt.Sprintf(minimal, "two")
	for name, c := range map[string]struct {
		file  string
		lines []int
	}{
		"empty":             {"", nil},
		"comments":          {"# a\n---\n# b\n", nil},
		"one":               {one, []int{1}},
		"two":               {one + "---\n" + two, []int{1, 10}},
		"leading separator": {"---\n" + one + "--- # more\n" + two + "---\n", []int{1, 11}},
		"end marker":        {one + "...\n" + two, []int{1, 11}},
		"carriage returns":  {strings.ReplaceAll(one+"---\n"+two, "\n", "\r\n"), []int{1, 10}},
		"directives":        {"%YAML 1.2\n---\n" + one + "...\n%YAML 1.2\n---\n" + two, []int{1, 13}},
		"no separator":      {one + "----\n", []int{1}},
		"JSON":              {`{"apiVersion":"security.kubearmor.com/v1","kind":"KubeArmorPolicy"}`, []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			parts, err := Split("f", strings.NewReader(c.file))
			if err != nil {
				t.Fatal(err)
			}
			var lines []int
			for _, p := range parts {
				lines = append(lines, p.Line)
			}
			if !reflect.DeepEqual(lines, c.lines) {
				t.Errorf("documents begin at lines %v, not %v", lines, c.lines)
			}
			sameParts(t, []byte(c.file))
		})
	}
	if _, err := Split("f", bytes.NewReader(make([]byte, maxFileBytes+1))); err == nil {
		t.Error("a file that is too large is taken apart")
	}
	if _, err := Split("f", strings.NewReader("a\n\xff")); err == nil || !strings.Contains(err.Error(), "f:2:") {
		t.Errorf("not UTF-8: %v", err)
	}
}

// sameParts checks that the parts of a file say what the file says.
func sameParts(t *testing.T, data []byte) {
	t.Helper()
	whole, err := Parse("f", bytes.NewReader(data))
	if err != nil {
		return
	}
	parts, err := Split("f", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var together []Document
	for _, p := range parts {
		docs, err := p.Parse(false)
		if err != nil && strings.Contains(err.Error(), "a list is not taken here") {
			return // a part is one policy
		}
		if err != nil {
			t.Fatalf("a part of a file that is right is wrong: %v\n%q", err, p.Body)
		}
		together = append(together, docs...)
	}
	if len(whole) == 0 && len(together) == 0 {
		return
	}
	if !reflect.DeepEqual(whole, together) {
		t.Errorf("the file says\n%+v\nits parts\n%+v", whole, together)
	}
}

func TestErrorsOfPartsNameLinesOfTheFile(t *testing.T) {
	parts, err := Split("f", strings.NewReader(fmt.Sprintf(minimal, "one")+"---\n"+strings.Replace(fmt.Sprintf(minimal, "two"), "/a", "a", 1)))
	if err != nil || len(parts) != 2 {
		t.Fatal(parts, err)
	}
	if _, err := parts[1].Parse(false); err == nil || !strings.HasPrefix(err.Error(), "f:19: ") {
		t.Errorf("%v", err)
	}
}

func TestMode(t *testing.T) {
	with := func(value string) string {
		return strings.Replace(fmt.Sprintf(minimal, "one"), "  name: one\n", "  name: one\n  annotations:\n    other: [x]\n    kubearmor-policy: "+value+"\n", 1)
	}
	for value, want := range map[string]Mode{"enabled": Enforce, "audited": Watch, "disabled": Off, `""`: Enforce} {
		docs, err := Parse("f", strings.NewReader(with(value)))
		if err != nil || len(docs) != 1 || docs[0].Mode != want {
			t.Errorf("%s: %+v, %v", value, docs, err)
		}
	}
	for _, value := range []string{"audit", "[audited]", "{}", "1"} {
		if _, err := Parse("f", strings.NewReader(with(value))); err == nil || !strings.HasPrefix(err.Error(), "f:7: ") {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func FuzzSplit(f *testing.F) {
	files, _ := filepath.Glob(filepath.Join("testdata", "good", "*.yaml"))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("%YAML 1.2\n---\n" + fmt.Sprintf(minimal, "a") + "...\n" + fmt.Sprintf(minimal, "b") + "--- !!map\n" + fmt.Sprintf(minimal, "c")))
	f.Fuzz(sameParts)
}
