package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/tracer/internal/trial"
)

func TestPolicyTest(t *testing.T) {
	secret := secretFile(t)
	dir := policyDir(t, blockFile("one", secret)+"---\n"+strings.Replace(blockFile("two", secret), "Block", "Audit", 1))
	got := outcomeOf(t, tracer(t, "policy", "test", dir, "--", "/bin/sh", "-c", "cat "+secret+"; exit 3"))
	if got.code != 3 || got.stdout != "" || !strings.Contains(got.stderr, "Permission denied") {
		t.Fatalf("%+v", got)
	}
	for _, want := range []string{
		"denied 1×: File " + secret + ", by /", "  by " + filepath.Join(dir, "policies.yaml") + ":4, one: denies opening " + secret + "\n",
		"  else alerted, by ", ":9, two: passes and tells of opening " + secret + "\n", "decisions were about what no rule names",
	} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("%q is not in\n%s", want, got.stderr)
		}
	}

	report := filepath.Join(t.TempDir(), "report")
	got = outcomeOf(t, tracer(t, "policy", "test", "--json", "--report", report, dir, "--", "/bin/cat", secret))
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v: %+v", err, got)
	}
	var told trial.Report
	if err := json.Unmarshal(text, &told); err != nil || len(told.Decisions) != 1 || told.Decisions[0].By.Policy != "one" || told.Decisions[0].Next.Policy != "two" {
		t.Errorf("%v: %s", err, text)
	}

	if got := outcomeOf(t, tracer(t, "policy", "test", policyDir(t, "kind: Pod"), "--", "/bin/true")); got.code != exitFailed || !strings.Contains(got.stderr, "policies.yaml:1: kind") {
		t.Errorf("%+v", got)
	}
}
