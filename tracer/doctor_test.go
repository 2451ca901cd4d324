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

// The doctor names the engine that a run takes.
func TestDoctorNamesTheEngine(t *testing.T) {
	if _, err := os.Stat("../bin/tracer"); err != nil {
		skip(t, err)
	}
	for where, want := range map[string]string{
		"refuse": "ptrace", "lacks": "ptrace", "alone": "", "profile": "", "lacks-all": "", "no-filters": "", "listen": "",
	} {
		cmd := exec.CommandContext(t.Context(), built(t, "nolistener.c"), where, "../bin/tracer", "doctor", "--json")
		cmd.Env = []string{"SIDEKICK_URL="}
		out, _ := cmd.Output() // it fails where nothing works
		var report struct {
			Engine string
			Ready  bool
		}
		if err := json.Unmarshal(out, &report); err != nil || report.Engine != want || report.Ready != (want != "") {
			t.Errorf("%s: %+v, %v, want %q\n%s", where, report, err, want, out)
		}
	}
}

// What the doctor's attacks reach without the tracer they do not reach under it, and nothing is left of them.
func TestDoctorProves(t *testing.T) {
	program := "../bin/tracer"
	if _, err := os.Stat(program); err != nil {
		skip(t, err)
	}
	tmp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "doctor", "--prove", "--json")
	// A user's own settings of the tracer are not those of the attacks.
	cmd.Env = []string{"SIDEKICK_URL=", "TMPDIR=" + tmp, "TRACER_LOG_LEVEL=error"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var proofs []struct {
		Attack, Detail string
		Held           bool
	}
	if err := json.Unmarshal(out, &proofs); err != nil {
		t.Fatal(err)
	}
	details := map[string]string{}
	for _, p := range proofs {
		if !p.Held {
			t.Errorf("%+v", p)
		}
		details[p.Attack] = p.Detail
	}
	for _, attack := range []string{"read a file", "read it by a link", "give it another name", "start a program", "connect"} {
		if details[attack] != "permission denied" {
			t.Errorf("%s: %q", attack, details[attack])
		}
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
