package notify_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/engine/notify"
	"github.com/sidearmor/sidearmor/tracer/internal/filter"
	"github.com/sidearmor/sidearmor/tracer/internal/launch"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
	"github.com/sidearmor/sidearmor/tracer/internal/thread"
)

type handlerFunc func(c *engine.Call) engine.Answer

func (f handlerFunc) Worker() engine.Worker { return f }

func (f handlerFunc) Handle(c *engine.Call) (engine.Answer, func(engine.Outcome)) { return f(c), nil }

func newEngine(t *testing.T, l *os.File) *notify.Engine {
	t.Helper()
	threads := thread.NewMaker()
	t.Cleanup(threads.Close)
	return notify.New(notify.Options{
		Listener: l, Threads: threads, Specs: syscalls.Table(), Log: slog.New(slog.DiscardHandler), Signalled: func(tid int) bool {
			status, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/status")
			return err == nil && pending.Match(status)
		},
	})
}

// pending finds a signal in the masks of pending ones.
var pending = regexp.MustCompile(`(SigPnd|ShdPnd):\t0*[1-9a-f]`)

// supervise runs a shell command under an engine with handler h and returns its
// exit code and output.
func supervise(t *testing.T, h handlerFunc, script string) (int, string) {
	t.Helper()
	return superviseBy(t, h, script)
}

func superviseBy(t *testing.T, h engine.Handler, script string) (int, string) {
	t.Helper()
	prog, err := filter.Program(filter.Options{Hold: rules.Process | rules.File | rules.Network})
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	// The child inherits the test's descriptors as they are: the output is
	// passed by name.
	child, err := launch.Start(launch.Command{
		Path: "/bin/sh", Args: []string{"sh", "-c", "exec >" + out.Name() + " 2>&1\n" + script},
		Env: os.Environ(), Filter: prog, NoNewPrivs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer child.Listener.Close()
	e := newEngine(t, child.Listener)
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() { done <- e.Run(ctx, h) }()
	releaseErr := child.Release()
	var status unix.WaitStatus
	if _, err := unix.Wait4(child.PID, &status, 0, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatalf("the engine failed: %v", err)
	}
	if ctx.Err() != nil {
		t.Fatal("the engine did not see the last process go")
	}
	if releaseErr != nil {
		t.Log(releaseErr)
	}
	b, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	return status.ExitStatus(), string(b)
}

func TestCallsAreHeldAndContinue(t *testing.T) {
	var execs, opens atomic.Int32
	code, out := supervise(t, func(c *engine.Call) engine.Answer {
		switch c.Spec.Op {
		case rules.Process:
			execs.Add(1)
		case rules.FileRead, rules.FileWrite, rules.File:
			opens.Add(1)
		}
		if !c.Hold.Valid() {
			t.Error("a call in hand is not held")
		}
		return engine.Continue()
	}, "/bin/echo hello; /bin/cat /dev/null; exit 7")
	if code != 7 || out != "hello\n" {
		t.Errorf("exit %d, output %q", code, out)
	}
	if execs.Load() != 3 || opens.Load() < 3 {
		t.Errorf("saw %d execs and %d opens, want 3 (sh, echo, cat) and some", execs.Load(), opens.Load())
	}
}

func TestDeniedCallFails(t *testing.T) {
	first := true
	code, out := supervise(t, func(c *engine.Call) engine.Answer {
		if c.Spec.Op == rules.Process && !first {
			return engine.Answer{} // nothing passes by omission
		}
		first = first && c.Spec.Op != rules.Process
		return engine.Continue()
	}, "/bin/echo hello; echo status $?")
	if code != 0 || !strings.Contains(out, "Permission denied") || !strings.HasSuffix(out, "status 126\n") {
		t.Errorf("exit %d, output %q", code, out)
	}
}

func TestManyProcessesAtOnce(t *testing.T) {
	code, out := supervise(t, func(*engine.Call) engine.Answer { return engine.Continue() },
		"for i in 1 2 3 4 5 6 7 8; do (for j in 1 2 3 4 5 6 7 8 9 10; do /bin/true || echo bad; done) & done; wait; echo done")
	if code != 0 || out != "done\n" {
		t.Errorf("exit %d, output %q", code, out)
	}
}

// A handler that hangs in one call must not hold up the calls of others.
func TestStuckCallDoesNotHoldUpOthers(t *testing.T) {
	release := make(chan struct{})
	marker := filepath.Join(t.TempDir(), "stuck")
	var stuck, others atomic.Int32
	code, out := supervise(t, func(c *engine.Call) engine.Answer {
		if c.Spec.Op != rules.Process {
			return engine.Continue()
		}
		switch n := stuck.Add(1); {
		case n == 2: // the background echo
			if err := os.WriteFile(marker, nil, 0o600); err != nil {
				t.Error(err)
			}
			<-release
		case n > 2:
			if others.Add(1) == 5 {
				close(release)
			}
		}
		return engine.Continue()
	}, "/bin/echo slow & while [ ! -e "+marker+" ]; do :; done; for i in 1 2 3 4 5; do /bin/echo $i; done; wait")
	if code != 0 || strings.ReplaceAll(out, "slow\n", "") != "1\n2\n3\n4\n5\n" || !strings.Contains(out, "slow") {
		t.Errorf("exit %d, output %q", code, out)
	}
}

func TestEngineStopsWithItsContext(t *testing.T) {
	prog, err := filter.Program(filter.Options{Hold: rules.Process})
	if err != nil {
		t.Fatal(err)
	}
	child, err := launch.Start(launch.Command{Path: "/bin/true", Args: []string{"true"}, Filter: prog, NoNewPrivs: true})
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, child.Listener)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Run(ctx, handlerFunc(func(*engine.Call) engine.Answer { return engine.Continue() })); err != nil {
		t.Fatal(err)
	}
	child.Listener.Close() // held calls fail with ENOSYS now
	err = child.Release()
	var execErr *launch.ExecError
	if !errors.As(err, &execErr) || execErr.Errno != unix.ENOSYS {
		t.Errorf("the exec after the engine's end: %v, want ENOSYS", err)
	}
	if _, err := unix.Wait4(child.PID, nil, 0, nil); err != nil {
		t.Fatal(err)
	}
}

func TestSecondListenerIsRefused(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	// seccomp(SECCOMP_SET_MODE_FILTER, NEW_LISTENER) with a filter of one
	// instruction: a workload must not get a listener of its own, which would
	// be asked before ours.
	script := `python3 - <<'PY'
import ctypes, errno, platform
libc = ctypes.CDLL(None, use_errno=True)
nr = 317 if platform.machine() == "x86_64" else 277
insn = ctypes.create_string_buffer(bytes([6,0,0,0]) + (0x7fff0000).to_bytes(4, "little"), 8)
class Prog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
prog = Prog(1, ctypes.addressof(insn))
r = libc.syscall(nr, 1, 8, ctypes.byref(prog))
print(r, errno.errorcode[ctypes.get_errno()])
PY`
	code, out := supervise(t, func(*engine.Call) engine.Answer { return engine.Continue() }, script)
	if code != 0 || out != "-1 EBUSY\n" {
		t.Errorf("exit %d, output %q", code, out)
	}
}
