package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// engineVariable chooses the engine of all tests: those of a run with ptrace are to
// pass as well.
const engineVariable = "TRACER_ENGINE"

func onPtrace() bool { return os.Getenv(engineVariable) == "ptrace" }

// differs says whether a test is not for ptrace, as docs/tracer.md says, and why not.
func differs(t *testing.T, why string) bool {
	t.Helper()
	if onPtrace() {
		t.Log("on ptrace: " + why)
	}
	return onPtrace()
}

// The tests of what matters most are made on the other engine, too. All of them are by
// TRACER_ENGINE=ptrace go test ./tracer.
func TestEnginePtrace(t *testing.T) {
	if differs(t, "all tests are on ptrace") {
		return
	}
	t.Parallel()
	for _, name := range []string{
		"TestWorkloadIsAsItWasWithoutTheTracer", "TestProgramsThatDoNotStart", "TestDeniedProgramRunsInNoWay", "TestDeniedEntryPoint",
		"TestRacingThreadNeverGetsTheDeniedFile", "TestRacingExecNeverRunsTheDeniedProgram", "TestRacesForADeniedFile",
		"TestOpensThatWait", "TestWhatIsClosedIsClosed", "TestNamedPipes", "TestLandlock", "TestChangeOfUserWithoutExec",
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+name+"$", "-test.v")
			cmd.Env = append(os.Environ(), engineVariable+"=ptrace", "GORACE=atexit_sleep_ms=0")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: "+name) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// An alert of a call that was let run tells what became of it.
func TestAlertsTellTheResultOnPtrace(t *testing.T) {
	c := newCollector(t)
	policies := policyDir(t, `apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: tcp}
spec:
  network: {matchProtocols: [{protocol: tcp}]}
  action: Audit
`)
	cmd := tracer(t, "run", "--engine=ptrace", "--policies", policies, "--", python, "-c", `
import socket
with socket.socket() as s: # bound, so that the port is nobody's
    s.bind(("127.0.0.1", 0))
    socket.socket().connect_ex(s.getsockname())`)
	cmd.Env = append(cmd.Env, "SIDEKICK_URL="+c.URL)
	if got := outcomeOf(t, cmd); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	events := c.records(t)
	if e := find(events, "Network", "remoteip=127.0.0.1", ""); e == nil || e.Result != "Connection refused" {
		t.Errorf("%+v in %+v", e, events)
	}
}

// Where no listener can be had, calls are held by ptrace. The first line of the log says
// so, and why.
func TestEngineIsTheOneThatWorks(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	policies := blockPolicy(t, secret)
	for _, c := range []struct {
		where, choice string
		code          int
		says          []string
	}{
		{"", "auto", 1, []string{`"engine":"notify"`}},
		{"", "ptrace", 1, []string{`"engine":"ptrace"`}},
		{"refuse", "auto", 1, []string{`"engine":"ptrace"`, "loading the filter: invalid argument"}},
		{"refuse", "notify", 125, []string{"loading the filter: invalid argument"}},
		{"alone", "auto", 125, []string{"loading the filter: invalid argument", "attaching to the workload", "docs/tracer.md"}},
		{"listen", "auto", 125, []string{"another program already listens"}},
		{"listen", "ptrace", 125, []string{"another program already listens"}},
	} {
		t.Run(strings.TrimSpace(c.where+" "+c.choice), func(t *testing.T) {
			cmd := tracer(t, "run", "--engine", c.choice, "--log-level=info", "--policies", policies, "--", "cat", secret)
			if c.where != "" {
				cmd.Args = append([]string{"nolistener", c.where}, cmd.Args...)
				cmd.Path = built(t, "nolistener.c")
			}
			got := outcomeOf(t, cmd)
			if got.code != c.code || got.stdout != "" {
				t.Errorf("%+v, want exit %d", got, c.code)
			}
			for _, s := range c.says {
				if !strings.Contains(got.stderr, s) {
					t.Errorf("no %q in %s", s, got.stderr)
				}
			}
		})
	}
}
