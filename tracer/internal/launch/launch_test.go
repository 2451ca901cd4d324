package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
	reaper, stop := reap(t, child.PID, slog.New(slog.DiscardHandler))
	<-reaper.Main()
	stop()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return reaper.Code(), string(out), releaseErr
}

// reap runs a reaper for main until stop is called.
func reap(t *testing.T, main int, log *slog.Logger) (reaper *Reaper, stop func()) {
	t.Helper()
	reaper = NewReaper(main, 0, log)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- reaper.Run(ctx) }()
	return reaper, func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
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

// The Go runtime puts /dev/null in their place.
func TestClosedStandardFilesStayClosed(t *testing.T) {
	const variable = "LAUNCH_TEST_CLOSED"
	if name := os.Getenv(variable); name != "" {
		child, err := Start(Command{Path: "/bin/sh", Args: []string{"sh", "-c", "ls /proc/$$/fd >" + name}, Env: os.Environ(), Filter: allow(), NoNewPrivs: true})
		if err != nil {
			t.Fatal(err)
		}
		defer child.Listener.Close()
		reaper, stop := reap(t, child.PID, slog.New(slog.DiscardHandler))
		if err := child.Release(); err != nil {
			t.Fatal(err)
		}
		<-reaper.Main()
		stop()
		return
	}
	for _, closed := range []string{"", "<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"} {
		name := filepath.Join(t.TempDir(), "open")
		listed := func(argv ...string) (standard []string) {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", `exec "$@" ` + closed, "sh"}, argv...)...)
			cmd.Env = append(os.Environ(), variable+"="+name)
			if err := cmd.Run(); err != nil {
				t.Fatalf("%s: %v", closed, err)
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, fd := range strings.Fields(string(b)) {
				if len(fd) == 1 && fd <= "2" {
					standard = append(standard, fd)
				}
			}
			return standard
		}
		want, got := listed("/bin/sh", "-c", "ls /proc/$$/fd >"+name), listed(os.Args[0], "-test.run", "^TestClosedStandardFilesStayClosed$")
		if !slices.Equal(want, got) {
			t.Errorf("%s: open are %v, without the tracer %v", closed, got, want)
		}
	}
}

func TestFilterNeedsPrivilege(t *testing.T) {
	if Can(unix.CAP_SYS_ADMIN) {
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
