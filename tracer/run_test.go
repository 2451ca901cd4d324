package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// asTracer makes the test binary be the tracer: it is started again by the
// tests, with the tracer's command line.
const asTracer = "SIDEARMOR_TEST_AS_TRACER"

func TestMain(m *testing.M) {
	if os.Getenv(asTracer) != "" {
		os.Unsetenv(asTracer)
		os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
	}
	code := m.Run()
	removePublic()
	os.Exit(code)
}

// skip skips a test, except in CI, where nothing is to be missing.
func skip(t *testing.T, why any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// tracer is a command that runs the tracer with args.
func tracer(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	// The race detector would wait a second at the end of each tracer.
	cmd.Env = append(os.Environ(), asTracer+"=1", "SIDEKICK_URL=", "GORACE=atexit_sleep_ms=0")
	return cmd
}

type outcome struct {
	code           int
	stdout, stderr string
}

func outcomeOf(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func TestWorkloadIsAsItWasWithoutTheTracer(t *testing.T) {
	for _, c := range []struct {
		name, script, stdin string
		code                int
	}{
		{"nothing", "true", "", 0},
		{"exit status", "exit 7", "", 7},
		{"killed by a signal", "kill -TERM $$", "", 143},
		{"killed by SIGKILL", "kill -KILL $$", "", 137},
		{"output and error", "echo out; echo err >&2; exit 3", "", 3},
		{"input", "cat; wc -c", "some\ninput\n", 0},
		{"arguments", `printf '[%s]' "$@"`, "", 0},
		{"environment", "env | grep -v -e ^_= -e ^SHLVL= -e ^SIDEARMOR_TEST -e ^SIDEKICK_URL= -e ^GORACE= | sort", "", 0},
		{"children", "for i in 1 2 3; do (/bin/echo $i; exit $i); echo $?; done", "", 0},
		{"background", "p=$(mktemp -u); mkfifo $p; (read x <$p; echo late) & echo early; echo >$p; wait; rm $p", "", 0},
		{"pipeline", "seq 1 20000 | sort -rn | head -n 3 | tr '\\n' ' '", "", 0},
		{"missing file", "cat /no/such/file", "", 1},
		{"group and session", `[ "$(ps -o pgid= -p $$)" = "$(ps -o pgid= -p $PPID)" ] && echo shared`, "", 0},
		{"own group", "setsid sh -c 'ps -o pid=,pgid=,sid= -p $$ | awk \"{print (\\$1 == \\$2 && \\$2 == \\$3)}\"'", "", 0},
		{"limits", "ulimit -Sn; ulimit -Hn", "", 0},
		{"umask and directory", "umask; pwd", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"/bin/sh", "-c", c.script, "sh", "a b", "", "*"}
			plain := exec.Command(args[0], args[1:]...)
			plain.Stdin = strings.NewReader(c.stdin)
			want := outcomeOf(t, plain)
			if want.code == -1 {
				want.code = c.code // ended by a signal: a shell says 128+n, and so does the tracer
			}
			traced := tracer(t, append([]string{"run", "--"}, args...)...)
			traced.Stdin = strings.NewReader(c.stdin)
			if got := outcomeOf(t, traced); got != want || got.code != c.code {
				t.Errorf("traced: %+v\nwithout: %+v\nwanted exit %d", got, want, c.code)
			}
		})
	}
}

func TestProgramsThatDoNotStart(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("echo hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		argv []string
		code int
		says string
	}{
		{[]string{"no-such-program-anywhere"}, 127, "no-such-program-anywhere"},
		{[]string{"/no/such/program"}, 127, "/no/such/program"},
		{[]string{plain}, 126, plain},
		{[]string{dir}, 126, dir},
	} {
		got := outcomeOf(t, tracer(t, append([]string{"run", "--"}, c.argv...)...))
		if got.code != c.code || got.stdout != "" || !strings.Contains(got.stderr, c.says) || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%v: %+v, want exit %d and one line that names it", c.argv, got, c.code)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{{}, {"run"}, {"run", "--no-such-flag", "--", "true"}, {"fly"}, {"run", "--policies", "/no/such/dir", "--", "true"}} {
		got := outcomeOf(t, tracer(t, args...))
		if got.code == 0 || got.stdout != "" || got.stderr == "" {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

func policyDir(t *testing.T, docs string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policies.yaml"), []byte(docs), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestBlockedActionsFailWithPermissionDenied(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	policies := policyDir(t, fmt.Sprintf(`
apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: test}
spec:
  process: {matchPaths: [{path: /usr/bin/sort}]}
  file: {matchPaths: [{path: %s}]}
  network: {matchProtocols: [{protocol: tcp}]}
  action: Block
`, secret))
	for _, c := range []struct{ script, stdout, stderr string }{
		{"sort /dev/null; echo $?", "126\n", "Permission denied"},
		{"exec sort", "", "Permission denied"},
		{"cat " + secret, "", "Permission denied"},
		{"cd " + dir + "; cat ./secret", "", "Permission denied"},
		{"ln -s " + secret + " " + dir + "/link$$; cat " + dir + "/link$$", "", "Permission denied"},
		{"cat /proc/self/root" + secret, "", "Permission denied"},
		{"cat < " + secret, "", "Permission denied"},
		{"echo x > " + secret, "", "Permission denied"},
		{`exec bash -c "exec 3<>/dev/tcp/127.0.0.1/9"`, "", "Permission denied"},
		{"cat " + filepath.Join(policies, "policies.yaml") + " >/dev/null && echo fine", "fine\n", ""},
	} {
		got := outcomeOf(t, tracer(t, "run", "--policies", policies, "--", "/bin/sh", "-c", c.script))
		if got.stdout != c.stdout || !strings.Contains(got.stderr, c.stderr) || c.stderr == "" && got.stderr != "" {
			t.Errorf("%s: %+v", c.script, got)
		}
	}
	got := outcomeOf(t, tracer(t, "run", "--policies", policies, "--", "sort", "/dev/null"))
	if got.code != 126 || !strings.Contains(got.stderr, "permission denied") {
		t.Errorf("a blocked entrypoint: %+v", got)
	}
}

func TestForwardedSignalReachesTheWorkloadOnce(t *testing.T) {
	cmd := tracer(t, "run", "--", "/bin/bash", "-c", `trap 'echo got' USR1; trap 'echo bye; exit 5' TERM; echo ready; while :; do read -t 0.1 line; done`)
	stdin, err := cmd.StdinPipe() // nothing comes: the shell waits, and starts no program, which could lose it a signal
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out := &lines{more: make(chan struct{}, 1)}
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.await(t, "ready")
	for i, sig := range []string{"USR1", "TERM"} {
		// A sender that is not of the workload.
		if err := exec.Command("/bin/sh", "-c", fmt.Sprintf("kill -%s %d", sig, cmd.Process.Pid)).Run(); err != nil {
			t.Fatal(err)
		}
		out.await(t, []string{"got", "bye"}[i])
	}
	_ = cmd.Wait() // an ExitError, as wanted
	if cmd.ProcessState.ExitCode() != 5 || out.String() != "ready\ngot\nbye\n" {
		t.Errorf("exit %d, output %q", cmd.ProcessState.ExitCode(), out)
	}
}

// What was ignored when the tracer began (nohup, a background job of a script) is ignored
// by the workload, unless it handles it: then it gets it, and the tracer does not end.
func TestIgnoredSignalsReachWhoHandlesThem(t *testing.T) {
	const script = `import signal, time
for s in (signal.SIGQUIT, signal.SIGUSR1): signal.signal(s, lambda n, _: print("got", n, flush=True))
signal.signal(signal.SIGTERM, lambda *_: exit(5))
print("ready", signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, flush=True)
while True: time.sleep(0.05) # not pause: a signal just before it would be handled after the next one`
	run := tracer(t, "run", "--", "/usr/bin/python3", "-c", script)
	cmd := exec.Command("/bin/sh", append([]string{"-c", `trap "" HUP QUIT USR1; exec "$@"`, "sh"}, run.Args...)...)
	cmd.Env = run.Env
	out := &lines{more: make(chan struct{}, 1)}
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	out.await(t, "ready True")
	for _, c := range []struct{ signal, text string }{{"HUP", ""}, {"QUIT", "got 3"}, {"USR1", "got 10"}, {"TERM", ""}} {
		if err := exec.Command("/bin/sh", "-c", fmt.Sprintf("kill -%s %d", c.signal, cmd.Process.Pid)).Run(); err != nil {
			t.Fatal(err)
		}
		if c.text != "" {
			out.await(t, c.text)
		}
	}
	_ = cmd.Wait() // an ExitError, as wanted
	if cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("exit %d, output %q", cmd.ProcessState.ExitCode(), out)
	}
}

// A program that leaves others behind and ends at once leaves them to the tracer.
// Several at a time, so that each also ends before the tracer is quite ready.
func TestDaemonsStayUnderTheirRules(t *testing.T) {
	for i := range 12 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			leaveDaemon(t)
		})
	}
}

func leaveDaemon(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	secret, result := filepath.Join(dir, "secret"), filepath.Join(dir, "result")
	if err := os.WriteFile(secret, []byte("s3cret"), 0o644); err != nil {
		t.Fatal(err)
	}
	policies := policyDir(t, fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: test}\nspec: {file: {matchPaths: [{path: %s}]}, action: Block}\n", secret))
	script := fmt.Sprintf("setsid sh -c 'sleep 0.3; cat %s; echo $?' >%s 2>&1 & exit 4", secret, result)
	if got := outcomeOf(t, tracer(t, "run", "--policies", policies, "--", "/bin/sh", "-c", script)); got.code != 4 {
		t.Errorf("%+v, want exit 4", got)
	}
	b, err := os.ReadFile(result)
	if err != nil || !strings.Contains(string(b), "Permission denied\n1\n") {
		t.Errorf("the daemon read %q, %v", b, err)
	}
}

func TestPIDOneReapsOrphansAndEndsWithItsWorkload(t *testing.T) {
	if os.Getuid() != 0 {
		skip(t, "needs root, for a pid namespace")
	}
	script := `[ $PPID = 1 ] || echo "parent is $PPID"
for i in 1 2 3 4 5; do (sh -c 'sleep 0.05' &) ; done
i=0
while [ $(ps -o pid= --ppid 1 | wc -l) != 1 ] && [ $i -lt 600 ]; do i=$((i+1)); sleep 0.1; done
[ $i -lt 600 ] || ps -e -o pid,ppid,stat,args
(trap "" TERM; sleep 100) &
exit 6`
	cmd := tracer(t)
	args := append([]string{"unshare", "--pid", "--fork", "--mount-proc", os.Args[0], "run", "--"}, "/bin/sh", "-c", script)
	cmd.Path, cmd.Args = "/usr/bin/unshare", args
	if got := outcomeOf(t, cmd); got.code != 6 || got.stdout != "" || got.stderr != "" {
		t.Errorf("%+v, want exit 6, no zombies and no output of the tracer", got)
	}
}

func TestInstall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 { // the second replaces the first
		if got := outcomeOf(t, tracer(t, "install", dir)); got.code != 0 || got.stdout != "" {
			t.Fatalf("%+v", got)
		}
	}
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	copied, err := os.ReadFile(filepath.Join(dir, "tracer"))
	if err != nil || !bytes.Equal(self, copied) {
		t.Fatalf("the copy differs: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	info, err := os.Stat(filepath.Join(dir, "tracer"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if got := outcomeOf(t, tracer(t, "install", "/proc/no/such")); got.code != 1 || !strings.Contains(got.stderr, "/proc/no") {
		t.Errorf("%+v", got)
	}
}
