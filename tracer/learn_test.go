package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a command did is allowed afterwards, on either engine, and nothing else; its
// output does not get into the policy.
func TestLearn(t *testing.T) {
	for _, engine := range []string{"notify", "ptrace"} {
		t.Run(engine, func(t *testing.T) {
			dir := t.TempDir()
			policy := filepath.Join(dir, "learned.yaml")
			script := "echo out; cat /etc/hostname >/dev/null; echo x >" + filepath.Join(dir, "written")
			learn := tracer(t, "learn", "--selector", "app=web", "--", "/bin/sh", "-c", script+"; exit 3")
			learn.Env = append(learn.Env, "TRACER_ENGINE="+engine)
			got := outcomeOf(t, learn)
			if got.code != 3 || got.stderr != "out\n" || !strings.HasPrefix(got.stdout, "# ") || !strings.Contains(got.stdout, `app: "web"`) {
				t.Fatalf("%+v", got)
			}
			if err := os.WriteFile(policy, []byte(got.stdout), 0o644); err != nil {
				t.Fatal(err)
			}
			run := tracer(t, "run", "--labels", "app=web", "--engine", engine, "--policies", policy, "--", "/bin/sh", "-c",
				script+"; cat /etc/passwd; id; echo y >"+filepath.Join(dir, "other")+"; true")
			if got := outcomeOf(t, run); got.code != 0 || got.stdout != "out\n" || strings.Count(got.stderr, "ermission denied") != 3 {
				t.Errorf("%+v", got)
			}
			more := outcomeOf(t, tracer(t, "learn", "--merge", policy, "--selector", "app=web", "-o", policy, "--", "/bin/cat", "/etc/passwd"))
			if more.code != 0 || !strings.HasPrefix(more.stdout, "root:") || more.stderr != "" {
				t.Fatalf("%+v", more)
			}
			both := outcomeOf(t, tracer(t, "run", "--labels", "app=web", "--policies", policy, "--", "/bin/sh", "-c", script+"; cat /etc/passwd; cat /etc/group"))
			if both.code != 1 || !strings.HasPrefix(both.stdout, "out\nroot:") || strings.Count(both.stderr, "ermission denied") != 1 {
				t.Errorf("%+v", both)
			}
		})
	}
	for want, args := range map[string][]string{
		"nosuch":       {"--from", "nosuch"},
		`"files"`:      {"--about", "files", "--", "true"},
		`"app"`:        {"--selector", "app", "--", "true"},
		"no event of ": {"--from", "/dev/null"},
	} {
		if got := outcomeOf(t, tracer(t, append([]string{"learn"}, args...)...)); got.code != exitFailed || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("%v: %+v", args, got)
		}
	}
}
