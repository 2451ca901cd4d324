package policies

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// image is a file system with links as on Debian, in a directory.
func image(t *testing.T) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, os.MkdirAll(root+"/usr/bin", 0o755), os.MkdirAll(root+"/run", 0o755), os.Mkdir(root+"/var", 0o755),
		os.Symlink("usr/bin", root+"/bin"), os.Symlink(root+"/run", root+"/var/run"), os.Symlink("../bin", root+"/usr/twice"),
		os.Symlink("busybox", root+"/usr/bin/wget"), os.Symlink("loop", root+"/loop"))
	return root
}

func TestLinksAreFollowed(t *testing.T) {
	root := image(t)
	l := newLinks(slog.New(slog.DiscardHandler))
	for from, to := range map[string]string{
		"/bin/wget": "/usr/bin/wget", "/usr/bin/wget": "/usr/bin/wget", "/var/run/a/b": "/run/a/b", "/usr/twice/x": "/usr/bin/x",
		"/nowhere/x": "/nowhere/x", "/loop/x": "/loop/x", "/bin": "/bin",
	} {
		if got := l.file(root+from, false); got != root+to {
			t.Errorf("%s: %s, want %s", from, got, to)
		}
	}
	for from, to := range map[place]place{
		{dir: root + "/var/run/"}:      {dir: root + "/run/"},
		{dir: "/"}:                     {dir: "/"},
		{pattern: root + "/bin/*"}:     {pattern: root + "/usr/bin/*"},
		{pattern: root + "/b*/x"}:      {pattern: root + "/b*/x"},
		{pattern: root + "/bin/x/y*/"}: {pattern: root + "/usr/bin/x/y*/"},
		{pattern: "/*"}:                {pattern: "/*"},
		{pattern: "**"}:                {pattern: "**"},
	} {
		if got, _ := l.follow(from, false); got != to {
			t.Errorf("%v: %v, want %v", from, got, to)
		}
	}
}

func TestRulesThroughLinks(t *testing.T) {
	root := image(t)
	h := newHub(t, spolicy.Target{})
	text := fmt.Sprintf(`apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: p}
spec:
  process:
    matchPaths: [{path: %[1]s/bin/curl}, {path: /x, fromSource: [{path: %[1]s/bin/sh}]}, {execname: nc}]
  file:
    matchDirectories: [{dir: %[1]s/var/run/, recursive: true}]
    matchPatterns: [{pattern: "%[1]s/bin/*.conf"}]
  action: Block
`, root)
	docs := parse(t, "p.yaml", text)
	h.Set("dir", docs)
	if len(docs[0].Process) != 3 || len(docs[0].Process[1].FromSource) != 1 {
		t.Errorf("the document was changed: %+v", docs[0].Process)
	}
	for _, a := range []rules.Access{
		{Operation: rules.Process, Path: root + "/usr/bin/curl"},
		{Operation: rules.Process, Path: root + "/bin/curl"}, // should the link become a directory
		{Operation: rules.Process, Path: "/x", Source: root + "/usr/bin/sh"},
		{Operation: rules.FileRead, Path: root + "/run/a/b"},
		{Operation: rules.FileRead, Path: root + "/usr/bin/x.conf"},
	} {
		if !h.Rules().Decide(&a).Deny {
			t.Errorf("%+v passes", a)
		}
	}
	for _, a := range []rules.Access{
		{Operation: rules.Process, Path: root + "/usr/bin/busybox"}, {Operation: rules.Process, Path: "/x"}, {Operation: rules.FileRead, Path: root + "/usr/bin/x"},
	} {
		if h.Rules().Decide(&a).Deny {
			t.Errorf("%+v is denied", a)
		}
	}
}

// Once the workload runs, a link that it makes allows nothing.
func TestLinksOfTheWorkloadAllowNothing(t *testing.T) {
	root := image(t)
	h, err := New(Options{Posture: rules.Posture{File: rules.PostureBlock}, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	policy := func(path string) []spolicy.Document {
		return parse(t, "p.yaml", fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: p}\nspec: {file: {matchPaths: [{path: %s}]}, action: Allow}\n", path))
	}
	passes := func(path string) bool {
		return !h.Rules().Decide(&rules.Access{Operation: rules.FileRead, Path: path}).Deny
	}
	h.Set("dir", policy(root+"/bin/x"))
	h.Hold(0, 0, true)
	must(t, os.Remove(root+"/bin"), os.Symlink("/evil", root+"/bin"), os.Symlink("/evil", root+"/new"))
	h.Set("dir", policy(root+"/bin/y"))
	if !passes(root+"/usr/bin/y") || passes("/evil/y") {
		t.Error("a link that was changed is followed")
	}
	blocks := policy(root + "/new/other")
	blocks[0].Name, blocks[0].File[0].Action = "b", spolicy.ActionBlock
	h.Set("other", blocks) // looks at the link
	h.Set("dir", policy(root+"/new/y"))
	if passes("/evil/y") || !passes(root+"/new/y") {
		t.Error("a link of the workload allows something")
	}
}
