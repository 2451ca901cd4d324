package launch

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/interrupt"
)

// Trace keeps the reaper from what is told of some threads: the thread that has
// attached to them waits for it itself.
type Trace struct {
	reaper  *Reaper
	threads []int
	once    sync.Once
}

// Trace says that the calling thread is about to attach to threads. It must come
// before the attaching, or the reaper may take the first stop. An exec makes a
// thread that is not the leader of its process take the leader's number, so a
// process whose exec is of interest takes two: the thread's and the leader's.
//
// It reports false while another trace has one of the threads: two that follow
// threads of one process cannot tell whose exec it was that succeeded.
func (r *Reaper) Trace(threads ...int) (*Trace, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(threads, func(tid int) bool { return r.traces[tid] != nil }) {
		return nil, false
	}
	t := &Trace{reaper: r, threads: threads}
	for _, tid := range threads {
		r.traces[tid] = t
	}
	return t, true
}

// Next waits for the next stop of one of the threads, or its end. What ends a
// thread is its last: from then on its number is not this trace's.
//
// The zero status, which is an end, and no thread is what comes of a leader that
// vanishes because another thread of its process makes an exec.
//
// Precondition: called on the thread that has attached, which has attached to
// nothing else and has no children.
func (t *Trace) Next() (tid int, status unix.WaitStatus) {
	for {
		// Of any: an exec can change the number.
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case err == unix.EINTR:
		case err != nil: // ECHILD
			return 0, 0
		case status.Stopped():
			return tid, status
		default:
			t.forget(tid)
			t.reaper.ended(tid, status)
			return tid, status
		}
	}
}

// forget gives up threads. One whose number belongs to another trace now stays so.
func (t *Trace) forget(threads ...int) {
	t.reaper.mu.Lock()
	defer t.reaper.mu.Unlock()
	for _, tid := range threads {
		if t.reaper.traces[tid] == t {
			delete(t.reaper.traces, tid)
		}
	}
}

// Release ends the trace. The caller has detached by then: a thread that stops
// afterwards stays so.
func (t *Trace) Release() {
	t.once.Do(func() {
		t.forget(t.threads...)
		t.reaper.mu.Lock()
		defer t.reaper.mu.Unlock()
		t.reaper.lookAgain()
	})
}

// lookAgain lets the reaper notice that there may be nothing left to wait for, once
// the first process has gone: the kernel wakes nobody when a thread is traced no
// more, or its end has been taken by another wait. r.mu is held.
func (r *Reaper) lookAgain() {
	select {
	case <-r.done:
		if r.thread != 0 {
			interrupt.Thread(r.thread)
		}
	default:
	}
}

// ptraceEvent is the PTRACE_EVENT_ number of a stop; 0 for none.
func ptraceEvent(status unix.WaitStatus) int { return int(status>>16) & 0xff }
