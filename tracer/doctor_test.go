package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// The built program, since the doctor starts itself again.
func TestDoctor(t *testing.T) {
	if _, err := os.Stat("../bin/tracer"); err != nil {
		skip(t, err)
	}
	cmd := exec.CommandContext(t.Context(), "../bin/tracer", "doctor", "--json")
	cmd.Env = []string{"SIDEKICK_URL="}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var report struct {
		Ready    bool
		Findings []struct{ Name, State string }
	}
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&report); err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, f := range report.Findings {
		states[f.Name] = f.State
	}
	if !report.Ready || states["user notification"] != "works" || states["ptrace"] != "works" {
		t.Errorf("%+v", report)
	}
}
