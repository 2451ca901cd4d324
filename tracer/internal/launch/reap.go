package launch

/*
#include "launch.h"
*/
import "C"

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
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/interrupt"
)

// Reaper waits for the workload's processes: its first one, whose status it
// keeps, and orphans that fall to the tracer when it is PID 1. What is told of
// threads that some thread of the tracer has attached to by ptrace it leaves to
// that one, see Trace.
type Reaper struct {
	log  *slog.Logger
	done chan struct{}
	code int

	parent int // the thread that the first process is a child of; 0 where that is not known
	alone  int // WNOTHREAD where the reaper runs on that thread, and that has the orphans too

	mu       sync.Mutex
	main     int            // 0 when it has ended: the number is free for another process then
	traces   map[int]*Trace // by thread
	thread   int            // that waits; 0 before it does
	reported bool           // a stop that is nobody's has been logged
}

// NewReaper makes a reaper for the first process main, which is a child of the
// thread parent of this process; 0 where that is not known.
func NewReaper(main, parent int, log *slog.Logger) *Reaper {
	return &Reaper{main: main, parent: parent, log: log, done: make(chan struct{}), traces: map[int]*Trace{}}
}

// Main is closed when the first process has ended.
func (r *Reaper) Main() <-chan struct{} { return r.done }

// Code is the exit status that stands for the first process: its own, or 128+n
// when signal n ended it. Valid once Main is closed.
func (r *Reaper) Code() int { return r.code }

// Run reaps until ctx has ended and there are no children left. Nothing else in
// the program may wait for a child meanwhile.
//
// It is best run on the main thread, where that has started the first process: the
// kernel gives orphans to that thread as well, so that the reaper need not be
// woken for what is told of the tracees of others.
func (r *Reaper) Run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := r.Begin(); err != nil {
		return err
	}
	for {
		pid, err := r.await()
		switch {
		case err == nil:
			r.take(pid)
		case err == unix.EINTR:
		case err != unix.ECHILD:
			return fmt.Errorf("launch: waiting for the workload: %w", err)
		case !orphansMayCome(ctx):
			return nil
		}
	}
}

// Begin makes the calling thread the one that waits. Run does so by itself.
func (r *Reaper) Begin() error {
	if err := interrupt.Catch(); err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	if e := C.sidearmor_wait_for_stops(); e != 0 {
		return fmt.Errorf("launch: waiting for stops without a signal: %w", unix.Errno(-e))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.thread = unix.Gettid(); r.thread == os.Getpid() && r.thread == r.parent {
		r.alone = unix.WNOTHREAD
	}
	return nil
}

// Wait waits for the next stop or end of the thread tid, or of any if tid is -1, for a
// thread that has attached to all of the workload. It takes down the end of the first
// process. With WNOHANG among the options it gives 0 where nothing is told yet.
//
// Precondition: called after Begin, on its thread. Run is not called.
func (r *Reaper) Wait(tid, options int) (int, unix.WaitStatus, error) {
	var status unix.WaitStatus
	got, err := unix.Wait4(tid, &status, unix.WALL|r.alone|options, nil)
	if err == nil && got != 0 && !status.Stopped() {
		r.ended(got, status)
	}
	return got, status, err
}

// Stopped says that job control has stopped a thread.
func (r *Reaper) Stopped(tid int) {
	r.mu.Lock()
	isMain := tid == r.main
	r.mu.Unlock()
	if isMain {
		stopWith()
	}
}

// orphanPause is how often a reaper without children looks whether it has got an
// orphan.
const orphanPause = 100 * time.Millisecond

// orphansMayCome waits a while, or says that ctx has ended.
func orphansMayCome(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(orphanPause):
		return true
	}
}

// siginfo is the beginning of siginfo_t as waitid(2) fills it in.
type siginfo struct {
	signo, errno, code, _ int32
	pid                   int32
}

// await waits until something is told of a process, and leaves it to be taken.
func (r *Reaper) await() (pid int, err error) {
	var info unix.Siginfo
	// WALL: threads, and children that do not end with SIGCHLD.
	err = unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT|unix.WALL|r.alone, nil)
	return int((*siginfo)(unsafe.Pointer(&info)).pid), err
}

// tracePause is how long the reaper waits for the one who traces a thread to take
// what is told of it.
const tracePause = 50 * time.Microsecond

// take takes what is told of a process, unless it is traced.
func (r *Reaper) take(pid int) {
	// Under the lock, so that nobody begins to trace the process meanwhile.
	r.mu.Lock()
	traced := r.traces[pid] != nil
	var status unix.WaitStatus
	var got int
	if !traced {
		got, _ = unix.Wait4(pid, &status, unix.WUNTRACED|unix.WALL|unix.WNOHANG|r.alone, nil) // else the next wait says it
	}
	isMain := got != 0 && got == r.main
	r.mu.Unlock()
	switch {
	case traced:
		time.Sleep(tracePause)
	case got == pid:
		r.dispatch(pid, isMain, status)
	}
}

// dispatch does what a wait asks for. A ptrace stop of a thread without a trace is
// a mistake of ours, or a process that asked to be traced by its parent, which it
// would find in any container.
func (r *Reaper) dispatch(pid int, isMain bool, status unix.WaitStatus) {
	if !status.Stopped() {
		r.ended(pid, status)
		return
	}
	if isMain && ptraceEvent(status) == 0 {
		switch stateOf(pid) {
		case stopped:
			stopWith()
			return
		case tracingStop:
		default:
			return // that stop is over by now
		}
	}
	if !r.reported {
		r.reported = true
		r.log.Warn("a thread has stopped for ptrace, and nobody follows it; said only once", "thread", pid, "signal", int(status.StopSignal()), "event", ptraceEvent(status))
	}
}

// ended takes down the end of a process or thread, whoever has waited for it.
func (r *Reaper) ended(pid int, status unix.WaitStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if pid == r.main {
		r.code, r.main = exitCode(status), 0
		close(r.done)
		r.lookAgain()
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
