package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// All tests are made on the other engine, too. By hand: TRACER_ENGINE=ptrace go test ./tracer.
func TestEnginePtrace(t *testing.T) {
	if onPtrace() {
		return
	}
	args := []string{"-test.skip=" + eitherEngine, "-test.v", "-test.timeout=15m"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), engineVariable+"=ptrace", "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("\n--- PASS: ")) {
		t.Errorf("%v\n%s", err, failures(out))
	}
}

// eitherEngine are tests that choose engines themselves, or run no workload.
const eitherEngine = "^(TestEnginePtrace|TestEngineIsTheOneThatWorks|TestAlertsTellTheResultOnPtrace|TestUsageErrors|TestInstall|TestPolicyCheck|TestRacesAreWonWithoutTheTracer)$"

// failures are the parts of the output of tests that tell of failed ones.
func failures(out []byte) string {
	var told strings.Builder
	for _, part := range strings.Split(string(out), "\n=== ") {
		if regexp.MustCompile(`(?m)--- FAIL|^panic|^fatal|^WARNING: DATA RACE|_test\.go:\d+:`).MatchString(part) {
			told.WriteString(part + "\n")
		}
	}
	if told.Len() == 0 {
		told.Write(out[max(0, len(out)-5000):])
	}
	return told.String()
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
		{"", "auto", 1, []string{`"engine":"notify","why":"it works here"`}},
		{"", "notify", 1, []string{`"engine":"notify","why":"it was chosen"`}},
		{"", "ptrace", 1, []string{`"engine":"ptrace"`}},
		{"refuse", "auto", 1, []string{`"engine":"ptrace"`, "loading the filter: invalid argument"}},
		{"refuse", "notify", 125, []string{"loading the filter: invalid argument"}},
		{"lacks", "auto", 1, []string{`"engine":"ptrace"`, "loading the filter: function not implemented"}},
		{"alone", "auto", 125, []string{"loading the filter: invalid argument", "attaching to the workload", "seccomp profile", "docs/tracer.md"}},
		{"profile", "auto", 125, []string{"loading the filter: operation not permitted", "attaching to the workload: operation not permitted", "seccomp profile"}},
		{"lacks-all", "auto", 125, []string{"loading the filter: function not implemented", "attaching to the workload: function not implemented", "seccomp profile"}},
		{"no-filters", "auto", 125, []string{"loading the filter: function not implemented", "seccomp profile"}},
		{"profile", "ptrace", 125, []string{"attaching to the workload: operation not permitted"}},
		{"profile", "notify", 125, []string{"loading the filter: operation not permitted"}},
		{"take", "auto", 1, []string{`"engine":"notify"`}},
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

// Rules about endpoints hold only where the tracer can have the sockets: where it may not
// take them, calls are held by ptrace.
func TestEngineForEndpoints(t *testing.T) {
	if differs(t, "the engine is chosen") {
		return
	}
	for _, c := range []struct {
		where, policy, engine string
	}{
		{"take", endpoints("Block", "{address: 127.0.0.2}"), "ptrace"},
		{"take", endpoints("Allow", "{address: 127.0.0.2}"), "notify"}, // under the posture audit
		{"take", block("presets: [{name: cloudCredentials}]"), "ptrace"},
		{"", endpoints("Block", "{address: 127.0.0.2}"), "notify"},
	} {
		cmd := tracer(t, "run", "--log-level=info", "--policies", policyDir(t, c.policy), "--", "true")
		if c.where != "" {
			cmd.Args = append([]string{"nolistener", c.where}, cmd.Args...)
			cmd.Path = built(t, "nolistener.c")
		}
		if got := outcomeOf(t, cmd); got.code != 0 || !strings.Contains(got.stderr, `"engine":"`+c.engine+`"`) {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}
