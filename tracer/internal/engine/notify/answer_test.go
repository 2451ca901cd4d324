package notify_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// watcher is a handler for one path: of all other calls it lets run.
type watcher struct {
	t      *testing.T
	table  *process.Table
	path   string
	answer func(c *engine.Call) engine.Answer
	done   func(engine.Outcome)
}

func (w *watcher) Worker() engine.Worker { return w }

func (w *watcher) Handle(c *engine.Call) (engine.Answer, func(engine.Outcome)) {
	if c.Spec.Op&rules.File == 0 || c.Spec.Path == syscalls.None {
		return engine.Continue(), nil
	}
	p, err := w.table.Get(c.TID)
	if err != nil {
		w.t.Error(err)
		return engine.Continue(), nil
	}
	if name, err := p.ReadString(c.TID, c.Args[c.Spec.Path], unix.PathMax); err != nil || name != w.path {
		return engine.Continue(), nil
	}
	return w.answer(c), w.done
}

func watch(t *testing.T, path string, answer func(c *engine.Call) engine.Answer) *watcher {
	t.Helper()
	table, err := process.NewTable(process.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return &watcher{t: t, table: table, path: path, answer: answer}
}

// The tracer's copy of an installed file must not outlive the caller's: the
// second process finds the lock free at once.
func TestInstalledFileIsTheCallersAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var known atomic.Int32
	w := watch(t, file, func(*engine.Call) engine.Answer {
		fd, err := unix.Open(file, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
		}
		return engine.Install(fd, false)
	})
	w.done = func(o engine.Outcome) {
		if o.Sent && o.Known && o.Result > 2 && o.Errno == 0 {
			known.Add(1)
		}
	}
	code, out := superviseBy(t, w, `i=0; while [ $i -lt 300 ]; do
		flock -n 9 9<>`+file+` || echo still locked; i=$((i+1)); done`)
	if code != 0 || out != "" {
		t.Errorf("exit %d, output %q", code, out)
	}
	if known.Load() != 300 {
		t.Errorf("the outcome of %d opens is known, want 300", known.Load())
	}
}

func TestInstallWithoutAFreeDescriptor(t *testing.T) {
	w := watch(t, "/dev/zero", func(*engine.Call) engine.Answer {
		fd, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
		}
		return engine.Install(fd, false)
	})
	code, out := superviseBy(t, w, "ulimit -n 3; read x < /dev/zero; echo $?")
	if code != 0 || !strings.Contains(out, "Too many open files") {
		t.Errorf("exit %d, output %q", code, out)
	}
}

// shellNoise is what shells say of a handled signal and of a killed child.
var shellNoise = regexp.MustCompile(`(?m)^(sh: 1: cannot open .*: Interrupted system call|Terminated)\n`)

// A handler that waits in a named pipe hears of the caller's signals, and of its
// death.
func TestWaitingCallHearsSignals(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	w := watch(t, fifo, func(c *engine.Call) engine.Answer {
		c.Hold.MayWait()
		for {
			fd, err := unix.Open(fifo, int(c.Args[c.Spec.Flags])&unix.O_ACCMODE|unix.O_CLOEXEC, 0)
			switch {
			case err == nil:
				return engine.Install(fd, false)
			case err == unix.EINTR && c.Hold.Interrupted():
				return engine.Restart()
			case err != unix.EINTR:
				t.Error(err)
				return engine.Answer{}
			}
		}
	})
	code, out := superviseBy(t, w, `
		sh -c 'trap "echo heard; exit 3" USR1; read x < `+fifo+`' & p=$!
		sleep 0.2; kill -USR1 $p; wait $p; echo $?
		sh -c 'read x < `+fifo+`' & p=$!
		sleep 0.2; kill -STOP $p; kill -CONT $p; kill $p; wait $p; echo $?
		sh -c 'read x < `+fifo+`; echo $x' & p=$!
		sleep 0.1; kill -STOP $p; sleep 0.1; kill -CONT $p; echo word > `+fifo+`; wait $p; echo $?`)
	out = shellNoise.ReplaceAllString(out, "")
	if want := "heard\n3\n143\nword\n0\n"; code != 0 || out != want {
		t.Errorf("exit %d, output %q, want %q", code, out, want)
	}
}
