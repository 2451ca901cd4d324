package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSignalsAreForwarded(t *testing.T) {
	if os.Getenv("LAUNCH_TEST_FORWARD") == "" {
		// In a process of its own: the handlers stay installed.
		cmd := exec.Command(os.Args[0], "-test.run", "^TestSignalsAreForwarded$", "-test.v")
		cmd.Env = append(os.Environ(), "LAUNCH_TEST_FORWARD=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "got TERM got USR1 got ALRM got WINCH got 40 done") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	signals, err := WatchSignals()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	target, r := startTarget(ctx, t)
	stopped := make(chan error, 1)
	if err := signals.Target(target.Process.Pid); err != nil {
		t.Fatal(err)
	}
	go func() { stopped <- signals.Forward(ctx) }()
	expect := func(want string) {
		t.Helper()
		buf := make([]byte, 64)
		n, err := r.Read(buf)
		if err != nil || strings.TrimSpace(string(buf[:n])) != want {
			t.Fatalf("%q, %v; want %q", buf[:n], err, want)
		}
		fmt.Print(want, " ")
	}
	expect("ready")
	for _, s := range []struct{ send, want string }{{"TERM", "got TERM"}, {"USR1", "got USR1"}, {"ALRM", "got ALRM"}, {"WINCH", "got WINCH"}, {"40", "got 40"}, {"USR2", "done"}} {
		sendFromOutside(t, s.send)
		expect(s.want)
	}
	cancel()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	_ = target.Wait() // killed by the context, or gone already
}

// startTarget starts a shell that says which signals it gets.
func startTarget(ctx context.Context, t *testing.T) (target *exec.Cmd, said io.Reader) {
	t.Helper()
	// It waits in read, for what never comes: a shell can lose a signal while it starts
	// a program, as sleep; one that comes just before it waits for input is seen when
	// the waiting ends.
	target = exec.CommandContext(ctx, "/bin/bash", "-c", `for s in TERM USR1 ALRM WINCH 40; do trap "echo got $s" $s; done; trap "echo done; exit" USR2; echo ready; while :; do read -t 0.1 line; done`)
	stdin, err := target.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	target.Stdout = w
	if err := errors.Join(target.Start(), w.Close()); err != nil { // closed: its death ends the reading
		t.Fatal(err)
	}
	return target, r
}

// sendFromOutside has this process signalled by one that does not descend from it:
// a shell's child, which waits until the shell has gone.
func sendFromOutside(t *testing.T, signal string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	shell := exec.Command("/bin/sh", "-c", fmt.Sprintf("(read x <&3; kill -%s %d) &", signal, os.Getpid()))
	shell.ExtraFiles = []*os.File{r}
	if err := errors.Join(shell.Run(), w.Close()); err != nil { // closed: that ends the waiting
		t.Fatal(err)
	}
}

func TestWantedSignals(t *testing.T) {
	outside := int32(1)
	for _, c := range []struct {
		s    received
		want bool
	}{
		{received{unix.SIGTERM, 0, outside}, true},
		{received{unix.SIGINT, siKernel, 0}, false}, // Ctrl-C: the terminal's group has it
		{received{unix.SIGWINCH, siKernel, 0}, false},
		{received{unix.SIGUSR1, -1, int32(os.Getpid())}, false}, // from the workload's own tree
	} {
		if got := wanted(c.s); got != c.want {
			t.Errorf("%+v: %v, want %v", c.s, got, c.want)
		}
	}
}

// Threads of the tracer are interrupted by it.
func TestSIGPROFIsNotForwarded(t *testing.T) {
	for _, s := range forwarded() {
		if unix.Signal(s) == unix.SIGPROF {
			t.Error("it is")
		}
	}
}

// asFaultVictim makes the test binary a process that watches its signals, and
// then does what the value says.
const asFaultVictim = "LAUNCH_TEST_FAULT_VICTIM"

// In processes of their own: the handlers stay installed.
func TestFaults(t *testing.T) {
	if what := os.Getenv(asFaultVictim); what != "" {
		beFaultVictim(t, what)
		return
	}
	unshare := []string{"unshare", "--pid", "--fork", "--mount-proc"}
	for _, c := range []struct {
		what    string
		process []string // before the command: makes it process 1
		code    int
		says    string
	}{
		{"be sent", unshare, 0, "alive"},
		{"be sent", nil, 2, "SIGSEGV"},
		{"recover", unshare, 0, "recovered"},
		{"recover", nil, 0, "recovered"},
		{"crash", unshare, 2, "nil pointer dereference"},
		{"crash", nil, 2, "nil pointer dereference"},
		{"abort", unshare, 2, "SIGABRT"},
	} {
		if c.process != nil && os.Getuid() != 0 {
			t.Log("needs root, for a pid namespace")
			continue
		}
		argv := append(append([]string{}, c.process...), os.Args[0], "-test.run", "^TestFaults$")
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), asFaultVictim+"="+c.what)
		out, err := cmd.CombinedOutput()
		code := cmd.ProcessState.ExitCode()
		if c.code == 2 && code == -1 {
			code = 2 // the report of a crash in the race detector's code, of which the runtime knows no frames, can fault itself
		}
		if code != c.code || !strings.Contains(string(out), c.says) {
			t.Errorf("%s, %v: %v, want status %d and %q\n%s", c.what, c.process, err, c.code, c.says, out)
		}
	}
}

func beFaultVictim(t *testing.T, what string) {
	t.Helper()
	if _, err := WatchSignals(); err != nil {
		t.Fatal(err)
	}
	switch what {
	case "be sent":
		for _, s := range []string{"SEGV", "BUS", "FPE", "ILL", "TRAP", "SYS", "ABRT"} {
			if err := exec.CommandContext(t.Context(), "/bin/sh", "-c", fmt.Sprintf("kill -%s %d", s, os.Getpid())).Run(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Println("alive")
	case "recover":
		func() {
			defer func() { fmt.Println("recovered", recover()) }()
			touch(nil)
		}()
	case "crash":
		touch(nil)
	case "abort":
		if err := unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGABRT); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
	}
}

// touch faults where p is nil.
func touch(p *int) { *p = 1 }
