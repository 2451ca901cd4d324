package launch

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/interrupt"
)

// Reaper waits for the workload's processes: its first one, whose status it
// keeps, orphans that fall to the tracer when it is PID 1, and threads that some
// thread of the tracer has attached to by ptrace. A wait takes whatever comes
// first of all of them, so there is only one, and it hands on what is not its own.
type Reaper struct {
	main int
	log  *slog.Logger
	done chan struct{}
	code int

	mu       sync.Mutex
	traces   map[int]*Trace // by thread
	traced   chan struct{}  // there are some again; capacity 1
	thread   int            // that waits; 0 before it does
	reported bool           // a stop that is nobody's has been logged
}

// NewReaper makes a reaper for the first process main.
func NewReaper(main int, log *slog.Logger) *Reaper {
	return &Reaper{main: main, log: log, done: make(chan struct{}), traces: map[int]*Trace{}, traced: make(chan struct{}, 1)}
}

// Main is closed when the first process has ended.
func (r *Reaper) Main() <-chan struct{} { return r.done }

// Code is the exit status that stands for the first process: its own, or 128+n
// when signal n ended it. Valid once Main is closed.
func (r *Reaper) Code() int { return r.code }

// Run reaps until ctx has ended and there are no children left. Nothing else in
// the program may wait for a child meanwhile.
func (r *Reaper) Run(ctx context.Context) error {
	if err := interrupt.Catch(); err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r.mu.Lock()
	r.thread = unix.Gettid()
	r.mu.Unlock()
	for {
		var status unix.WaitStatus
		// WALL: threads, and children that do not end with SIGCHLD.
		pid, err := unix.Wait4(-1, &status, unix.WUNTRACED|unix.WALL, nil)
		switch {
		case err == nil:
			r.dispatch(pid, status)
		case err == unix.EINTR:
		case err != unix.ECHILD:
			return fmt.Errorf("launch: waiting for the workload: %w", err)
		case !r.awaitTrace(ctx):
			return nil
		}
	}
}

// attachPause is how often the reaper looks whether a thread that somebody is
// about to attach to has become one to wait for. It matters only to a tracer that
// has no children left.
const attachPause = time.Millisecond

// awaitTrace waits until there may be something to wait for again, or says that
// ctx has ended.
func (r *Reaper) awaitTrace(ctx context.Context) bool {
	r.mu.Lock()
	pending := len(r.traces) > 0
	r.mu.Unlock()
	var pause <-chan time.Time
	if pending {
		pause = time.After(attachPause)
	}
	select {
	case <-ctx.Done():
		return false
	case <-r.traced:
	case <-pause:
	}
	return true
}

// dispatch hands on what a wait told.
func (r *Reaper) dispatch(pid int, status unix.WaitStatus) {
	isMain := pid == r.main
	if isMain && status.Stopped() && ptraceEvent(status) == 0 {
		switch stateOf(pid) {
		case stopped:
			stopWith()
			return
		case tracingStop:
		default:
			return // that stop is over by now
		}
	}
	r.deliver(Stop{pid, status})
	if isMain && !status.Stopped() {
		r.code = exitCode(status)
		r.main = 0 // the number is free for another process now
		close(r.done)
	}
}

func exitCode(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// stopWith stops the tracer when its workload has stopped, so that the shell
// that started the tracer sees its job stop; that shell's SIGCONT reaches both,
// for the tracer passes it on. Where no shell with job control can be waiting,
// whoever stops the workload means it alone, and the tracer must go on
// answering its other processes.
func stopWith() {
	if isSessionLeader() || !hasTerminal() {
		return
	}
	// The error can only be that this process does not exist.
	_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
}

// hasTerminal says whether this process has a controlling terminal: only then
// can /dev/tty be opened (tty(4)).
func hasTerminal() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// States of a process in /proc (proc_pid_stat(5)).
const (
	stopped     = 'T' // by job control
	tracingStop = 't' // by ptrace
)

// stateOf is the state of a process; 0 when there is none.
func stateOf(pid int) byte {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// "pid (comm) state ppid": comm may hold anything, ")" too.
	if at := strings.LastIndexByte(string(stat), ')') + 2; at > 1 && at < len(stat) {
		return stat[at]
	}
	return 0
}
