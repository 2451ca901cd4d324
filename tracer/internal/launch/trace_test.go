package launch

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// child is a process that a test starts without waiting for it, and what it says.
type child struct {
	pid   int
	stdin *os.File
	lines *bufio.Scanner
}

func startChild(t *testing.T, argv ...string) child {
	t.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// On another thread: the one that attaches to processes has no children.
	var p *os.Process
	var started sync.WaitGroup
	started.Go(func() { p, err = os.StartProcess(argv[0], argv, &os.ProcAttr{Files: []*os.File{inR, outW, os.Stderr}}) })
	started.Wait()
	if err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	pid := p.Pid
	t.Cleanup(func() {
		inW.Close()
		outR.Close()
	})
	return child{pid, inW, bufio.NewScanner(outR)}
}

// say lets the child, which reads a line, go on.
func (c child) say(t *testing.T) {
	t.Helper()
	if _, err := c.stdin.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
}

// number reads one from the child.
func (c child) number(t *testing.T) (n int) {
	t.Helper()
	if !c.lines.Scan() {
		t.Fatal("the child says nothing")
	}
	if _, err := fmt.Sscan(c.lines.Text(), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// onThread keeps the test on one thread: ptrace takes requests from the one that
// attached alone.
func onThread(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
}

func seize(t *testing.T, tid, options int) {
	t.Helper()
	if _, _, e := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, uintptr(options), 0, 0); e != 0 {
		t.Fatalf("attaching to thread %d: %v", tid, e)
	}
}

// stop is what is told of a traced thread.
type stop struct {
	tid    int
	status unix.WaitStatus
}

func next(t *testing.T, tr *Trace) (s stop) {
	t.Helper()
	s.tid, s.status = tr.Next()
	return s
}

func trace(t *testing.T, r *Reaper, threads ...int) *Trace {
	t.Helper()
	tr, ok := r.Trace(threads...)
	if !ok {
		t.Fatalf("threads %v are another's", threads)
	}
	return tr
}

func detach(t *testing.T, tid int) {
	t.Helper()
	if err := unix.PtraceDetach(tid); err != nil {
		t.Fatal(err)
	}
}

func TestExecOfTheFirstProcessIsFollowed(t *testing.T) {
	onThread(t)
	c := startChild(t, "/bin/sh", "-c", "read x; exec /bin/sh -c 'exit 7'")
	r, end := reap(t, c.pid, slog.New(slog.DiscardHandler))
	tr := trace(t, r, c.pid)
	seize(t, c.pid, unix.PTRACE_O_TRACEEXEC)
	c.say(t)
	if s := next(t, tr); s.tid != c.pid || s.status.TrapCause() != unix.PTRACE_EVENT_EXEC {
		t.Errorf("%+v, want the stop after the exec", s)
	}
	select {
	case <-r.Main():
		t.Error("a stop is taken for the end")
	default:
	}
	detach(t, c.pid)
	tr.Release()
	<-r.Main()
	end()
	if r.Code() != 7 {
		t.Errorf("exit status %d", r.Code())
	}
}

// Whoever traces the first process is told of its end in the reaper's place.
func TestEndOfTheFirstProcessWhileItIsTraced(t *testing.T) {
	onThread(t)
	c := startChild(t, "/bin/sh", "-c", "read x")
	r, end := reap(t, c.pid, slog.New(slog.DiscardHandler))
	tr := trace(t, r, c.pid)
	seize(t, c.pid, unix.PTRACE_O_TRACEEXEC)
	if err := unix.Kill(c.pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s := next(t, tr); s.tid != c.pid || !s.status.Signaled() {
		t.Errorf("%+v, want the end by a signal", s)
	}
	<-r.Main()
	if again, ok := r.Trace(c.pid); !ok {
		t.Error("a thread that has ended still belongs to its trace")
	} else {
		again.Release()
	}
	tr.Release()
	end()
	if r.Code() != 128+9 {
		t.Errorf("exit status %d", r.Code())
	}
}

// A leader is gone without a word when another thread of its process makes an exec.
func TestLeaderThatVanishes(t *testing.T) {
	onThread(t)
	c := startChild(t, "/bin/sh", "-c", `exec 3<&0; sh -c 'echo $$; exec /usr/bin/python3 -c "
import os, threading
def run():
    os.read(3, 1)
    os.execv(\"/bin/sleep\", [\"sleep\", \"100\"])
threading.Thread(target=run).start()"'; exit 5`)
	r, end := reap(t, c.pid, slog.New(slog.DiscardHandler))
	pid := c.number(t)
	tr := trace(t, r, pid)
	seize(t, pid, 0)
	time.Sleep(300 * time.Millisecond) // Python begins
	c.say(t)
	if s := next(t, tr); s.status.Stopped() {
		t.Errorf("%+v, want an end", s)
	}
	tr.Release()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-r.Main()
	end()
	if r.Code() != 5 {
		t.Errorf("exit status %d", r.Code())
	}
}

// The thread that makes an exec becomes the leader: the stop comes under that number.
func TestExecOfAThreadIsFollowed(t *testing.T) {
	onThread(t)
	c := startChild(t, "/usr/bin/python3", "-c", `
import os, sys, threading
def run():
    print(threading.get_native_id(), flush=True)
    sys.stdin.readline()
    os.execv("/bin/true", ["true"])
threading.Thread(target=run).start()`)
	r, end := reap(t, c.pid, slog.New(slog.DiscardHandler))
	tid := c.number(t)
	tr := trace(t, r, tid, c.pid)
	if _, ok := r.Trace(c.pid); ok {
		t.Error("two traces have one thread")
	}
	seize(t, tid, unix.PTRACE_O_TRACEEXEC)
	c.say(t)
	if s := next(t, tr); s.tid != c.pid || s.status.TrapCause() != unix.PTRACE_EVENT_EXEC {
		t.Errorf("%+v, want the stop after the exec, as thread %d", s, c.pid)
	}
	detach(t, c.pid)
	tr.Release()
	<-r.Main()
	end()
}

// Processes that are not the tracer's children are followed as well, also when
// it has no children any more.
func TestStrangersAreFollowed(t *testing.T) {
	onThread(t)
	c := startChild(t, "/bin/sh", "-c", "sleep 100 >/dev/null & echo $!")
	r, end := reap(t, c.pid, slog.New(slog.DiscardHandler))
	pid := c.number(t)
	<-r.Main()
	time.Sleep(20 * time.Millisecond) // the reaper finds that there are no children
	tr := trace(t, r, pid)
	seize(t, pid, 0)
	if err := unix.PtraceInterrupt(pid); err != nil {
		t.Fatal(err)
	}
	if s := next(t, tr); s.tid != pid || ptraceEvent(s.status) != unix.PTRACE_EVENT_STOP {
		t.Errorf("%+v, want the stop of an interruption", s)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s := next(t, tr); !s.status.Signaled() {
		t.Errorf("%+v, want the end by a signal", s)
	}
	tr.Release()
	end()
}

func TestStopThatIsNobodysIsLoggedOnce(t *testing.T) {
	onThread(t)
	var text bytes.Buffer
	c := startChild(t, "/bin/sh", "-c", "read x; kill -USR1 $$; exit 3")
	r, end := reap(t, c.pid, slog.New(slog.NewTextHandler(&text, nil)))
	seize(t, c.pid, 0)
	for range 2 {
		if err := unix.PtraceInterrupt(c.pid); err != nil {
			t.Fatal(err)
		}
		for stateOf(c.pid) != tracingStop {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond) // the reaper sees it
		if err := unix.PtraceCont(c.pid, 0); err != nil {
			t.Fatal(err)
		}
	}
	// A trace that is released has no say any more.
	tr := trace(t, r, c.pid)
	tr.Release()
	tr.Release()
	c.say(t)
	for stateOf(c.pid) != tracingStop { // the delivery of a signal
		time.Sleep(time.Millisecond)
	}
	detach(t, c.pid) // the signal with it
	<-r.Main()
	end()
	if n := strings.Count(text.String(), "nobody follows it"); n != 1 || r.Code() != 3 {
		t.Errorf("logged %d times, exit status %d\n%s", n, r.Code(), &text)
	}
}
