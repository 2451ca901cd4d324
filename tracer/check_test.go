package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/tracer/internal/explain"
)

func TestPolicyCheck(t *testing.T) {
	right, dubious, wrong := policyDir(t, blockFile("a", "/etc/x")), policyDir(t, blockFile("b", "/proc/self/environ")), policyDir(t, "kind: Pod")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{right}, 0, "denies opening /etc/x"},
		{[]string{filepath.Join(right, "policies.yaml"), dubious}, 0, "never matches here: file path /proc/self/environ"},
		{[]string{"--strict", right}, 0, "applies to every container"},
		{[]string{"--strict", dubious}, 1, "never matches here"},
		{[]string{wrong, right}, 1, "policies.yaml:1: kind"},
		{[]string{"/no/such"}, 1, ""},
	} {
		got := outcomeOf(t, tracer(t, append([]string{"policy", "check"}, c.args...)...))
		if got.code != c.code || !strings.Contains(got.stdout, c.want) || (got.stderr != "") != (c.code != 0) {
			t.Errorf("%v: %+v", c.args, got)
		}
	}
	got := outcomeOf(t, tracer(t, "policy", "check", "--json", dubious, wrong))
	var files []explain.File
	if err := json.Unmarshal([]byte(got.stdout), &files); err != nil || got.code != 1 {
		t.Fatalf("%v: %+v", err, got)
	}
	if len(files) != 2 || len(files[0].Policies) != 1 || len(files[0].Policies[0].Never) != 1 || len(files[1].Errors) == 0 {
		t.Errorf("%+v", files)
	}
}
