package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds what is sure to come. The demo itself takes a few seconds.
const patience = 2 * time.Minute

// wantAlerts is what the demo must show, in this order.
var wantAlerts = []string{
	"AUDITED  client connected to 127.0.0.1:",
	"AUDITED  curl connected to 127.0.0.1:",
	"AUDITED  python3",
	"BLOCKED  python3",
	"tried to run /usr/bin/apt-get",
	"BLOCKED  cat tried to read /etc/shadow",
}

// need is a file that "make demo" makes or installs.
func need(t *testing.T, file string) string {
	t.Helper()
	path, err := exec.LookPath(file)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("%v: run \"make build\" first", err)
	}
	return path
}

func bin(t *testing.T) string {
	t.Helper()
	need(t, "../../bin/sidekick")
	for _, program := range []string{"cc", "curl", "awk", "/usr/bin/python3"} {
		need(t, program)
	}
	return filepath.Dir(need(t, "../../bin/tracer"))
}

// environ is the test's environment without what would make the demo send, or
// fail, on a machine that is set up to send.
func environ(dir string, more ...string) []string {
	env := []string{"TMPDIR=" + dir}
	for _, entry := range os.Environ() {
		prefix, _, _ := strings.Cut(entry, "_")
		switch prefix {
		case "SLACK", "DISCORD", "AWS", "WEBHOOK", "STDOUT", "TRACER", "QUEUE":
		default:
			env = append(env, entry)
		}
	}
	return append(env, more...)
}

// start prepares a demo in a process group of its own, as a terminal does.
func start(ctx context.Context, script, bin string, env []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, script, bin)
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// checkClean fails when something of the demo is left. A process that the demo has
// ended counts until the system's init has taken notice.
func checkClean(t *testing.T, cmd *exec.Cmd, dir string) {
	t.Helper()
	for limit := time.Now().Add(patience); !errors.Is(syscall.Kill(-cmd.Process.Pid, 0), syscall.ESRCH); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			out, _ := exec.Command("ps", "-eo", "pid,ppid,pgid,stat,args").Output()
			t.Fatalf("processes of group %d are left:\n%s", cmd.Process.Pid, out)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("%s is left in TMPDIR", left[0].Name())
	}
}

// run runs a demo to its end and gives what it wrote.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("the demo: %v\n%s", err, &out)
	}
	return out.String()
}

func checkAlerts(t *testing.T, out string) {
	t.Helper()
	rest := out
	for _, want := range wantAlerts {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("%q is missing, or in the wrong place, in:\n%s", want, out)
		}
		rest = after
	}
	for _, want := range []string{
		"shop says:    orders: closing the shop", // the workload's own output
		"shop says:    cat: /etc/shadow: Permission denied",
		"log      ", // programs and connections, as they come
		"│ ⛔ Blocked: cat tried to read /etc/shadow", // the Slack message
		"│ Policy     `block-package-managers`",
		"6 alerts: 3 audited, 3 blocked",
		"blocked: dash tried to run /usr/bin/apt-get",
		"exit status: 7, as without the tracer",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "/usr/lib") {
		t.Errorf("logs of files are shown one by one:\n%s", out)
	}
}

func TestDemo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	cmd := start(ctx, "./demo.sh", bin(t), environ(dir))
	out := run(t, cmd)
	checkAlerts(t, out)
	if !strings.Contains(out, "nothing is sent anywhere") || strings.Contains(out, "FOR REAL") {
		t.Errorf("it is not said that nothing is sent:\n%s", out)
	}
	checkClean(t, cmd, dir)
}

// A user who is not root cannot read /etc/shadow anyway; the alerts are the same.
func TestDemoWithoutRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("the other tests run without root as well")
		return
	}
	const nobody = 65534
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	from := bin(t)
	// The checkout may be where only root can read.
	work, dir := t.TempDir(), t.TempDir()
	if err := os.Chmod(filepath.Dir(work), 0o755); err != nil {
		t.Fatal(err)
	}
	copyTree(t, "../../examples", filepath.Join(work, "examples"))
	copyTree(t, from, filepath.Join(work, "bin"), "sidekick", "tracer")
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := start(ctx, filepath.Join(work, "examples/demo/demo.sh"), filepath.Join(work, "bin"), environ(dir, "HOME=/"))
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	checkAlerts(t, run(t, cmd))
	checkClean(t, cmd, dir)
}

// copyTree copies a directory, or only the named files of it, for all to read.
func copyTree(t *testing.T, from, to string, only ...string) {
	t.Helper()
	if len(only) == 0 {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range only {
		body, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), body, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDemoSendsForReal(t *testing.T) {
	const secret = "T0/B0/demosecret"
	var mu sync.Mutex
	var messages []string
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/services/"+secret {
			http.Error(w, "no_service", http.StatusNotFound)
			return
		}
		mu.Lock()
		messages = append(messages, string(body))
		mu.Unlock()
		_, _ = io.WriteString(w, "ok")
	}))
	defer slack.Close()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	cmd := start(ctx, "./demo.sh", bin(t), environ(dir, "SLACK_WEBHOOKURL="+slack.URL+"/services/"+secret))
	out := run(t, cmd)
	checkAlerts(t, out)
	for _, want := range []string{"SENDING FOR REAL to: slack", "slack took 6 events"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "demosecret") {
		t.Errorf("the address, which is a secret, is shown:\n%s", out)
	}
	if len(messages) != len(wantAlerts) || !strings.Contains(messages[5], "cat tried to read /etc/shadow") {
		t.Errorf("Slack got %d messages:\n%s", len(messages), strings.Join(messages, "\n"))
	}
	checkClean(t, cmd, dir)
}

// What Slack refuses must not look like a success.
func TestDemoSaysWhatWasRefused(t *testing.T) {
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "invalid_blocks", http.StatusBadRequest)
	}))
	defer slack.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	cmd := start(ctx, "./demo.sh", bin(t), environ(dir, "SLACK_WEBHOOKURL="+slack.URL))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "6 were refused") {
		t.Errorf("%v, want exit 1 and the number of refused alerts:\n%s", err, out)
	}
	checkClean(t, cmd, dir)
}

// Ctrl-C reaches the whole group, at whatever moment.
func TestDemoCleansUpWhenInterrupted(t *testing.T) {
	for _, moment := range []string{"Starting a sidekick", "it listens on", "orders: opening", "AUDITED"} {
		t.Run(moment, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			dir := t.TempDir()
			cmd := start(ctx, "./demo.sh", bin(t), environ(dir))
			seen := &watcher{text: moment, do: func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }}
			cmd.Stdout, cmd.Stderr = seen, seen
			// A test that was started in the background of a script may have been told to
			// ignore the signal, and a shell could not take that back.
			c := make(chan os.Signal, 1)
			signal.Notify(c, syscall.SIGINT)
			err := cmd.Start()
			signal.Stop(c)
			if err == nil {
				err = cmd.Wait()
			}
			var exit *exec.ExitError
			interrupted := errors.As(err, &exit) && exit.ExitCode() == 130
			// On a busy machine it may have been through before the signal came.
			finished := err == nil && strings.Contains(seen.out.String(), "Where to go next")
			if !interrupted && !finished {
				t.Errorf("%v, want exit 130:\n%s", err, &seen.out)
			}
			checkClean(t, cmd, dir)
		})
	}
}

// watcher does something when a text is written for the first time.
type watcher struct {
	out  bytes.Buffer
	text string
	do   func()
	once sync.Once
}

func (w *watcher) Write(b []byte) (int, error) {
	w.out.Write(b)
	if strings.Contains(w.out.String(), w.text) {
		w.once.Do(w.do)
	}
	return len(b), nil
}
