package ptrace

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/interrupt"
)

// aside is a call that is answered by a thread of its own, which may wait. Its caller
// waits in a system call that has no end: so it takes signals, and stops and goes on by
// job control, as in the call that it made.
type aside struct {
	service  *service
	call     engine.Call
	lent     map[int]int         // descriptors of the caller's: the service's own for the same
	thread   atomic.Int64        // that answers
	gone     atomic.Bool         // nobody needs the answer
	called   atomic.Bool         // the answer is wanted now: recalled is closed
	leaves   bool                // of the service's thread: the caller has stopped until the answer is there
	taken    atomic.Bool         // by the service
	answer   engine.Answer       // of the service's thread once it is taken
	outcome  chan engine.Outcome // capacity 1
	dropped  chan struct{}       // closed when nobody needs the answer
	recalled chan struct{}       // closed when nobody needs it, or it is wanted now
	told     chan struct{}       // closed at the end
}

const (
	// maxAside bounds the threads: as many calls can wait for others at a time.
	maxAside = 1024
	// look is how often a thread is called back whose answer nobody needs.
	look = 5 * time.Millisecond
)

// putAside has the call at hand answered by another thread.
func (s *service) putAside(tid int, lent map[int]int) {
	w := &aside{
		service: s, call: s.call, lent: lent,
		outcome: make(chan engine.Outcome, 1), dropped: make(chan struct{}), recalled: make(chan struct{}), told: make(chan struct{}),
	}
	w.call.Hold = w
	s.waiting.Add(1)
	if s.asides >= maxAside || s.Threads.Start(w.run) != nil {
		s.waiting.Done()
		takeBack(lent)
		s.give(tid, &s.regs, false, -int64(engine.Defer().Errno()))
		return
	}
	h := &held{regs: s.regs, spec: s.call.Spec, aside: w, done: w.tell}
	s.calls[tid] = h
	s.asides++
	s.waiting.Go(w.watch)
	s.wait(tid, h)
}

// wait has the caller wait in the place of its call, which has not begun.
func (s *service) wait(tid int, h *held) {
	r := h.regs
	if r.become(tid, unix.SYS_PPOLL, [6]uint64{}) == nil {
		_ = request(unix.PTRACE_SYSCALL, tid, 0, 0) // ESRCH: it has been killed
	}
}

// Valid says whether the answer is needed.
func (w *aside) Valid() bool { return !w.gone.Load() }

// MayWait is true: the thread is there for this call alone.
func (w *aside) MayWait() bool { return true }

// Interrupted says that the caller has had a signal to handle or is gone.
func (w *aside) Interrupted() bool { return w.called.Load() }

// Lend gives what the caller has sent before it began to wait.
func (w *aside) Lend(fd int) (int, error) {
	own, ok := w.lent[fd]
	if !ok {
		return -1, fmt.Errorf("lend descriptor %d of thread %d: %w", fd, w.call.TID, errors.ErrUnsupported)
	}
	return unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
}

func (w *aside) run() {
	defer w.service.waiting.Done()
	defer close(w.told)
	// The thread's signal mask and credentials are its own: it ends here.
	var done func(engine.Outcome)
	if err := interrupt.Block(); err == nil {
		w.thread.Store(int64(unix.Gettid()))
		w.answer, done = w.service.handler.Worker().Handle(&w.call)
		w.thread.Store(0)
	}
	takeBack(w.lent)
	w.service.offer(w)
	var o engine.Outcome
	select {
	case o = <-w.outcome:
	case <-w.dropped:
		if fd, _, ok := w.answer.File(); ok {
			unix.Close(fd)
		}
	}
	if done != nil {
		done(o)
	}
}

// tell says what became of the call.
func (w *aside) tell(o engine.Outcome) { w.outcome <- o }

// watch calls the thread back when nobody needs its answer, or it is wanted now, at each
// look: what comes just before its system call begins to wait does not interrupt it.
func (w *aside) watch() {
	select {
	case <-w.told:
		return
	case <-w.recalled:
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if thread := w.thread.Load(); thread != 0 {
			interrupt.Thread(int(thread))
		}
		select {
		case <-w.told:
			return
		case <-tick.C:
		}
	}
}

// offer hands the answer of another thread to the service.
func (s *service) offer(w *aside) {
	s.mu.Lock()
	s.answers = append(s.answers, w)
	s.mu.Unlock()
	s.rouse(w.taken.Load)
}

// takeAnswers takes what other threads have answered. The callers come out of their
// waits, and are answered where they stop then.
func (s *service) takeAnswers() {
	s.mu.Lock()
	answers := s.answers
	s.answers = nil
	s.mu.Unlock()
	for _, w := range answers {
		w.taken.Store(true)
		switch {
		case w.gone.Load():
		case w.leaves:
			w.leaves = false
			s.awaited(w.call.TID, s.calls[w.call.TID])
		default:
			_ = request(unix.PTRACE_INTERRUPT, w.call.TID, 0, 0) // ESRCH: it is dead
		}
	}
}

// awaited deals with a caller that has come out of its wait: for the answer, or because
// it has a signal to handle or is to stop. Where no handler runs, the kernel makes the call
// again, and it waits on.
func (s *service) awaited(tid int, h *held) {
	w, r := h.aside, h.regs
	switch {
	case !w.taken.Load() && handles(tid):
		// What the answer has come to by now holds, as in the kernel: the other side of
		// a pipe may have been there, and its end be what the signal tells of.
		w.leaves = true
		w.recall()
	case !w.taken.Load() || w.answer.Restarts():
		if r.end(tid, restartSys) == nil {
			s.resume(tid, 0)
		}
	case w.answer.Continues():
		if r.again(tid, r.number(), r.args()) == nil {
			s.resume(tid, 0)
		}
	default:
		s.finish(tid, h, true)
	}
}

// finish answers a caller that has waited, or is about to wait again.
func (s *service) finish(tid int, h *held, waited bool) {
	s.asides--
	delete(s.calls, tid)
	s.carryOut(tid, h.spec, &h.regs, waited, h.aside.answer, h.done)
}

// madeAgain deals with a call that a caller makes who has come out of its wait. It reports
// false for another call than that one.
func (s *service) madeAgain(tid int, h *held) bool {
	w := h.aside
	switch {
	case s.regs != h.regs || w.taken.Load() && w.answer.Restarts():
		s.giveUp(tid, h)
		return false
	case w.taken.Load():
		s.finish(tid, h, false)
	default:
		s.wait(tid, h)
	}
	return true
}

// signalled deals with a signal that a thread which waits is about to get: a handler ends
// the wait.
func (s *service) signalled(tid int, sig unix.Signal) {
	h := s.calls[tid]
	if h == nil || h.aside == nil {
		return
	}
	if st, err := readStatus(tid); err != nil || st.caught&(1<<(sig-1)) != 0 {
		s.giveUp(tid, h)
	}
}

// giveUp ends the wait of a caller without an answer.
func (s *service) giveUp(tid int, h *held) {
	s.asides--
	delete(s.calls, tid)
	h.aside.abandon()
}

// handles says whether a thread has a signal to handle.
func handles(tid int) bool {
	st, err := readStatus(tid)
	return err == nil && st.pending&^st.blocked&st.caught != 0
}

// abandon gives up a call.
func (w *aside) abandon() {
	w.gone.Store(true)
	w.recall()
	close(w.dropped)
}

// recall has the thread answer now.
func (w *aside) recall() {
	if !w.called.Swap(true) {
		close(w.recalled)
	}
}
