// Package ptrace is the engine that holds calls by ptrace(2) and a seccomp filter
// that traces (SECCOMP_RET_TRACE): for kernels and containers where no listener for
// seccomp user notification can be had. It knows nothing of what the calls mean.
//
// One thread, which has attached to the first process, gets all stops and answers
// all calls: the kernel takes requests from nobody else. What nobody asked for
// stops nowhere: threads go on by PTRACE_CONT, never PTRACE_SYSCALL, and of one
// that waits for nothing no record is kept.
package ptrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/interrupt"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
	"github.com/sidearmor/sidearmor/tracer/internal/thread"
)

// Options are what an Engine works with.
type Options struct {
	Specs []syscalls.Spec
	// Wait waits for the next stop or end of the thread tid, or of any that the
	// calling thread traces or is the parent of if tid is -1. It fails with EINTR for
	// interrupt.Thread, and with ECHILD when there is none. With WNOHANG it gives 0
	// where nothing is told yet.
	Wait func(tid, options int) (int, unix.WaitStatus, error)
	// Stopped is told of a thread that job control has stopped.
	Stopped func(tid int)
	Threads *thread.Maker
	Log     *slog.Logger
}

// Engine traces a process and what descends from it.
type Engine struct {
	Options
	first   int // the process
	filters int // that it is under
}

// New makes the calling thread the tracer of the process pid, which is under a filter
// that traces, and of all that descend from it. They are killed when the thread ends.
func New(pid int, o Options) (*Engine, error) {
	if err := request(unix.PTRACE_SEIZE, pid, 0, options); err != nil {
		return nil, fmt.Errorf("ptrace: attaching to the workload: %w", err)
	}
	st, err := readStatus(pid)
	if err != nil {
		return nil, fmt.Errorf("ptrace: %w", err)
	}
	return &Engine{o, pid, st.filters}, nil
}

// Name is the engine's name on the command line.
func (e *Engine) Name() string { return "ptrace" }

// Can says what the engine can do.
func (e *Engine) Can() engine.Abilities {
	return engine.Abilities{Install: true, Follow: true, OneThread: true, Spare: 1, Atomic: true}
}

// Run serves h until nothing is left that is traced, or ctx ends.
//
// Precondition: called on the thread that called New.
func (e *Engine) Run(ctx context.Context, h engine.Handler) error {
	if err := errors.Join(interrupt.Catch(), interrupt.Block()); err != nil {
		return fmt.Errorf("ptrace: %w", err)
	}
	s := &service{
		Engine: e, handler: h, thread: unix.Gettid(), index: syscalls.NewIndex(e.Specs), calls: map[int]*held{},
		execs: map[int]int{}, deferred: map[int]func(){}, scratch: map[int]uint64{e.first: 0},
	}
	var err error
	if s.sender, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return fmt.Errorf("ptrace: making a socket: %w", err)
	}
	defer unix.Close(s.sender)
	s.worker = h.Worker()
	stop := context.AfterFunc(ctx, func() { s.rouse(func() bool { return s.ended.Load() }) })
	defer stop()
	defer s.leave()
	return s.loop(ctx)
}

// service is one Run. All but the marked fields are its thread's own.
type service struct {
	*Engine
	handler  engine.Handler
	worker   engine.Worker
	thread   int // of the service
	index    syscalls.Index
	sender   int // socket that descriptors are sent by
	call     engine.Call
	regs     registers
	told     []told         // what has been told of threads, in the order in which it is dealt with
	lent     map[int]int    // descriptors of the caller of the call at hand: own ones for the same
	warned   bool           // that a file could not be handed over
	calls    map[int]*held  // calls that were let run and are followed, by thread
	asides   int            // of calls that are being answered by other threads
	execs    map[int]int    // threads that execute a program: the leaders of their processes
	deferred map[int]func() // what a leader has stopped for meanwhile
	scratch  map[int]uint64 // processes with memory of their own: a page of it for injected calls, 0 for none yet

	ended   atomic.Bool // any thread's
	mu      sync.Mutex
	answers []*aside // guarded by mu: calls that others have answered
	waiting sync.WaitGroup
}

// held is a call that was let run, or in the place of which another one was, and whose
// end is waited for.
type held struct {
	regs  registers // as the call began
	spec  *syscalls.Spec
	aside *aside // who answers it, of a call that was not let run
	done  func(engine.Outcome)
}

// told is what a wait has told of a thread.
type told struct {
	tid    int
	status unix.WaitStatus
}

func (s *service) loop(ctx context.Context) error {
	last := 0
	for ctx.Err() == nil {
		tid, status, err := s.Wait(-1, 0)
		switch {
		case err == nil && tid == last:
			s.stop(tid, status)
		case err == nil:
			last = tid
			s.takeTurns(tid, status)
		case errors.Is(err, unix.EINTR):
			s.takeAnswers()
		case errors.Is(err, unix.ECHILD):
			return nil
		default:
			return fmt.Errorf("ptrace: waiting for the workload: %w", err)
		}
	}
	return nil
}

// takeTurns deals with all that has stopped. The kernel tells of the youngest thread first:
// where the tracer has no pause, older ones would never have their turn.
func (s *service) takeTurns(tid int, status unix.WaitStatus) {
	s.told = append(s.told[:0], told{tid, status})
	for {
		tid, status, err := s.Wait(-1, unix.WNOHANG)
		if err != nil || tid == 0 {
			break // an error is told again by the next wait
		}
		if !status.Stopped() { // what it has stopped for before is over, and its number may be another's soon
			s.told = slices.DeleteFunc(s.told, func(t told) bool { return t.tid == tid })
		}
		s.told = append(s.told, told{tid, status})
	}
	for _, t := range s.told {
		s.stop(t.tid, t.status)
	}
}

// roused is how often a thread that is called back is called again: what comes just
// before its system call begins to wait does not interrupt it.
const roused = 200 * time.Microsecond

// rouse calls the service's thread back until it has noticed.
func (s *service) rouse(noticed func() bool) {
	for !noticed() && !s.ended.Load() {
		interrupt.Thread(s.thread)
		time.Sleep(roused)
	}
}

// leave ends what is left.
func (s *service) leave() {
	s.ended.Store(true)
	for _, h := range s.calls {
		if h.aside != nil {
			h.aside.abandon()
		}
	}
	s.waiting.Wait()
}

// resume lets a stopped thread go on.
func (s *service) resume(tid int, sig unix.Signal) bool {
	return request(unix.PTRACE_CONT, tid, 0, uintptr(sig)) == nil
}

// stop deals with what a wait has told.
func (s *service) stop(tid int, status unix.WaitStatus) {
	event, sig := int(uint32(status)>>16), status.StopSignal()
	if !status.Stopped() {
		s.gone(tid)
		return
	}
	if s.deferStop(tid, status, event) {
		return
	}
	switch {
	case event == unix.PTRACE_EVENT_SECCOMP:
		s.answer(tid)
	case event == unix.PTRACE_EVENT_EXEC:
		s.executed(tid)
	case event == eventStop && sig != unix.SIGTRAP:
		_ = request(unix.PTRACE_LISTEN, tid, 0, 0) // it stays stopped, and tells when it goes on
		s.Stopped(tid)
	case event == unix.PTRACE_EVENT_FORK || event == unix.PTRACE_EVENT_VFORK || event == unix.PTRACE_EVENT_CLONE:
		s.made(tid)
	case event != 0: // a new thread begins
		s.resume(tid, 0)
	case sig == syscallStop:
		s.returned(tid)
	default:
		s.signalled(tid, sig)
		s.resume(tid, sig) // with the siginfo that it was sent with
	}
}

// gone takes down that a thread has ended.
func (s *service) gone(tid int) {
	if h := s.calls[tid]; h != nil {
		if h.aside != nil {
			s.giveUp(tid, h)
		} else {
			delete(s.calls, tid)
			h.tell(engine.Outcome{})
		}
	}
	delete(s.deferred, tid)
	delete(s.scratch, tid)
	s.execEnds(tid)
}

func (h *held) tell(o engine.Outcome) {
	if h.done != nil {
		h.done(o)
	}
}
