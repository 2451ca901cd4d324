package layout

import (
	"bytes"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository, seen from this package.
const root = "../.."

// topLevel is what the top of the repository may hold besides dot files.
var topLevel = map[string]bool{
	"tracer": true, "sidekick": true, "outputs": true, "schema": true, "deploy": true,
	"docs": true, "examples": true, "test": true,
	"go.mod": true, "go.sum": true, "Makefile": true, "README.md": true,
	"LICENSE": true, "NOTICE": true, "CHANGELOG.md": true, "CONTRIBUTING.md": true, "SECURITY.md": true, "AGENTS.md": true,
}

func TestTopLevel(t *testing.T) {
	for _, path := range files(t) {
		top, _, _ := strings.Cut(path, "/")
		if !topLevel[top] && !strings.HasPrefix(top, ".") {
			t.Errorf("%s: the top level is fixed", path)
		}
	}
}

// registries matches the settings that choose where packages are fetched from.
// That is the machine's business: a choice in the repository breaks every build
// behind a mirror.
var registries = regexp.MustCompile(`(?i)` + strings.Join([]string{
	`\bGO(PROXY|SUMDB|NOSUMDB|NOPROXY)\s*:?=`,
	`--(extra-)?index-url|\bregistry\s*=\s*http`,
}, "|"))

func TestNoRegistries(t *testing.T) {
	self := filepath.Join("test", "layout", "files_test.go")
	for _, path := range files(t) {
		if path == self {
			continue
		}
		body := read(t, path)
		if bytes.IndexByte(body, 0) >= 0 {
			continue
		}
		for i, line := range strings.Split(string(body), "\n") {
			if found := registries.FindString(line); found != "" {
				t.Errorf("%s:%d: chooses a package registry: %q", path, i+1, found)
			}
		}
	}
	for _, bad := range []string{"GOPROXY=direct", "pip install --index-url x", "registry = https://x"} {
		if !registries.MatchString(bad) {
			t.Errorf("%q is not recognised", bad)
		}
	}
}

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)(?:\s+"[^"]*")?\)`)
	codeFence    = regexp.MustCompile("(?ms)^```.*?^```|`[^`\n]*`")
)

func TestDocumentLinks(t *testing.T) {
	for _, path := range files(t) {
		if filepath.Ext(path) != ".md" {
			continue
		}
		prose := codeFence.ReplaceAll(read(t, path), nil)
		for _, m := range markdownLink.FindAllSubmatch(prose, -1) {
			target, err := url.Parse(string(m[1]))
			if err != nil {
				t.Errorf("%s: link %s: %v", path, m[1], err)
				continue
			}
			if target.IsAbs() || target.Path == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), filepath.FromSlash(target.Path))); err != nil {
				t.Errorf("%s: link %s leads nowhere", path, m[1])
			}
		}
	}
}

// files lists what is committed or would be, relative to the repository.
func files(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	var present []string
	for path := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		// A file that was removed is in the index until the removal is committed.
		if _, err := os.Lstat(filepath.Join(root, path)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		present = append(present, path)
	}
	if len(present) == 0 {
		t.Fatal("git lists no files")
	}
	return present
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return body
}
