package launch

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/interrupt"
)

// Stop is what a wait told of a traced thread: that it stopped, or has ended.
type Stop struct {
	TID    int
	Status unix.WaitStatus
}

// Trace gives what is told of some threads to the one who attaches to them.
type Trace struct {
	// Stops never holds up the reaper: there is room for all that can be told of
	// a thread before somebody has read of it and let it go on.
	Stops <-chan Stop

	stops   chan Stop
	reaper  *Reaper
	threads []int
	once    sync.Once
}

// Trace says that the caller is about to attach to threads. It must come before
// the attaching, or a stop may come first and be nobody's. An exec makes a thread
// that is not the leader of its process take the leader's number, so a process
// whose exec is of interest takes two: the thread's and the leader's.
//
// It reports false while another trace has one of the threads: two that follow
// threads of one process cannot tell whose exec it was that succeeded.
//
// What ends a thread is its last: from then on its number is not this trace's.
func (r *Reaper) Trace(threads ...int) (*Trace, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(threads, func(tid int) bool { return r.traces[tid] != nil }) {
		return nil, false
	}
	stops := make(chan Stop, 2*len(threads)) // a stop, and the end that a SIGKILL brings
	t := &Trace{Stops: stops, stops: stops, reaper: r, threads: threads}
	for _, tid := range threads {
		r.traces[tid] = t
	}
	select {
	case r.traced <- struct{}{}:
	default: // the reaper has not seen the last one yet
	}
	return t, true
}

// Release ends the trace. The caller has detached by then: a thread that stops
// afterwards stays so. What has not been read of Stops is lost.
func (t *Trace) Release() {
	t.once.Do(func() {
		t.reaper.mu.Lock()
		defer t.reaper.mu.Unlock()
		for _, tid := range t.threads {
			if t.reaper.traces[tid] == t {
				delete(t.reaper.traces, tid)
			}
		}
		t.reaper.lookAgain()
	})
}

// lookAgain lets the reaper notice that a thread that it waits for is traced no
// more: the kernel wakes nobody for that, and with the first process gone there
// may be nothing left to wait for. r.mu is held.
func (r *Reaper) lookAgain() {
	select {
	case <-r.done:
		if r.thread != 0 {
			interrupt.Thread(r.thread)
		}
	default:
	}
}

// deliver hands s to the trace that it belongs to. The end of a thread without
// one needs nobody; a stop without one is a mistake of ours, or a process that
// asked to be traced by its parent, which it would find in any container.
func (r *Reaper) deliver(s Stop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.traces[s.TID]
	if t != nil && !s.Status.Stopped() {
		delete(r.traces, s.TID)
	}
	if t != nil {
		select {
		case t.stops <- s:
			return
		default:
		}
	}
	if s.Status.Stopped() && !r.reported {
		r.reported = true
		r.log.Warn("a thread has stopped for ptrace, and nobody follows it; said only once", "thread", s.TID, "signal", int(s.Status.StopSignal()), "event", ptraceEvent(s.Status))
	}
}

// ptraceEvent is the PTRACE_EVENT_ number of a stop; 0 for none.
func ptraceEvent(status unix.WaitStatus) int { return int(status>>16) & 0xff }

// Next waits for the next stop of one of the threads, or its end.
func (t *Trace) Next() (tid int, status unix.WaitStatus) {
	s := <-t.Stops
	return s.TID, s.Status
}
