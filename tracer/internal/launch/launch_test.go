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

// allow is a filter that holds nothing: BPF_RET|BPF_K SECCOMP_RET_ALLOW.
func allow() []unix.SockFilter { return []unix.SockFilter{{Code: 6, K: 0x7fff0000}} }

// start runs a program under a filter that holds nothing and returns its exit
// code and what it wrote to its standard output.
func start(t *testing.T, path string, args ...string) (int, string, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// The child inherits standard output.
	saved, err := unix.Dup(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(int(w.Fd()), 1, 0); err != nil {
		t.Fatal(err)
	}
	child, err := Start(Command{Path: path, Args: args, Env: os.Environ(), Filter: allow(), NoNewPrivs: true})
	if e := errors.Join(unix.Dup3(saved, 1, 0), unix.Close(saved), w.Close()); e != nil {
		t.Fatal(e)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer child.Listener.Close()
	releaseErr := child.Release()
	reaper := NewReaper(child.PID)
	if err := reaper.Run(); err != nil {
		t.Fatal(err)
	}
	<-reaper.Main()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return reaper.Code(), string(out), releaseErr
}

func TestExitStatus(t *testing.T) {
	for script, want := range map[string]int{
		"exit 0":         0,
		"exit 7":         7,
		"kill -TERM $$":  128 + 15,
		"kill -KILL $$":  128 + 9,
		"kill -SEGV $$":  128 + 11,
		"kill -35 $$":    128 + 35,
		"sleep 0 & wait": 0,
	} {
		if code, _, err := start(t, "/bin/sh", "sh", "-c", script); code != want || err != nil {
			t.Errorf("%s: exit %d (%v), want %d", script, code, err, want)
		}
	}
}

func TestProgramThatCannotBeExecuted(t *testing.T) {
	for path, want := range map[string]unix.Errno{"/no/such/program": unix.ENOENT, "/etc/passwd": unix.EACCES, "/etc": unix.EACCES} {
		_, _, err := start(t, path, path)
		var execErr *ExecError
		if !errors.As(err, &execErr) || execErr.Errno != want || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

// What the Go runtime changes about this process must not reach the workload.
func TestWorkloadInheritsWhatTheTracerWasGiven(t *testing.T) {
	if os.Getenv("LAUNCH_TEST_CHILD") != "" {
		_, out, err := start(t, "/bin/sh", "sh", "-c", "grep -E 'Sig(Ign|Blk|Cgt)|CapEff' /proc/self/status; ulimit -Sn; ls -l /proc/self/fd | wc -l; cat /proc/self/status | grep Seccomp:")
		fmt.Print("INHERITED\n", out, err)
		return
	}
	probe := func(viaLaunch bool) string {
		shell := `trap "" QUIT USR2 PIPE; ulimit -Sn 123; exec "$@"`
		args := []string{"-c", shell, "sh", "/bin/sh", "-c", "grep -E 'Sig(Ign|Blk|Cgt)' /proc/self/status; ulimit -Sn; ls -l /proc/self/fd | wc -l"}
		if viaLaunch {
			args = []string{"-c", shell, "sh", os.Args[0], "-test.run", "^TestWorkloadInheritsWhatTheTracerWasGiven$"}
		}
		cmd := exec.Command("/bin/sh", args...)
		cmd.Env = append(os.Environ(), "LAUNCH_TEST_CHILD=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		text := string(out)
		if _, after, ok := strings.Cut(text, "INHERITED\n"); ok {
			text = after
		}
		return text
	}
	want, got := strings.Split(probe(false), "\n"), strings.Split(probe(true), "\n")
	kept := func(lines []string) (out []string) {
		for _, l := range lines {
			if strings.HasPrefix(l, "Sig") || strings.TrimSpace(l) == "123" {
				out = append(out, l)
			}
		}
		return out
	}
	if w, g := strings.Join(kept(want), "\n"), strings.Join(kept(got), "\n"); w != g || len(kept(want)) != 4 {
		t.Errorf("through launch:\n%s\nwithout:\n%s", g, w)
	}
}

func TestFilterNeedsPrivilege(t *testing.T) {
	if HasSysAdmin() {
		t.Log("with CAP_SYS_ADMIN no_new_privs is not needed")
		return
	}
	_, err := Start(Command{Path: "/bin/true", Args: []string{"true"}, Filter: allow()})
	var filterErr *FilterError
	if !errors.As(err, &filterErr) || filterErr.Errno != unix.EACCES {
		t.Errorf("%v, want EACCES", err)
	}
}

func TestInvalidFilterIsRefused(t *testing.T) {
	_, err := Start(Command{Path: "/bin/true", Args: []string{"true"}, Filter: []unix.SockFilter{{Code: 0xffff}}, NoNewPrivs: true})
	var filterErr *FilterError
	if !errors.As(err, &filterErr) {
		t.Errorf("%v, want a FilterError", err)
	}
	if _, err := Start(Command{Path: "/bin/true"}); err == nil {
		t.Error("no filter: no error")
	}
}

func TestSysPtraceIsTakenFromTheWorkload(t *testing.T) {
	_, out, err := start(t, "/bin/sh", "sh", "-c", "grep -E 'Cap(Eff|Prm|Bnd|Inh|Amb)' /proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		name, hex, _ := strings.Cut(line, ":")
		var bits uint64
		if _, err := fmt.Sscanf(strings.TrimSpace(hex), "%x", &bits); err != nil {
			t.Fatal(err)
		}
		if bits&(1<<unix.CAP_SYS_PTRACE) != 0 {
			t.Errorf("%s holds CAP_SYS_PTRACE", name)
		}
	}
}

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
