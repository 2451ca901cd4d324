package notify

import (
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/interrupt"
)

// worker is one OS thread that answers calls. One worker at a time, or as many as
// Options.Receivers says, is a receiver. It stays that from call to call, since a call that goes to another
// thread each time is slower; only while its call may wait for others does
// another worker receive.
type worker struct {
	*service
	number uint64 // workers are numbered in turn
	tid    int

	state atomic.Int32
	calls atomic.Uint64 // counts the calls that it received
	// interrupted is the count of calls at the call whose caller has a signal to
	// handle or is gone.
	interrupted atomic.Uint64
	id          atomic.Uint64 // of the call, for the watch
	caller      atomic.Int32  // its thread

	n    notification
	call engine.Call
}

// States of a worker.
const (
	parked    int32 = iota // waits to become the receiver
	receiving              // waits for a call
	answering              // answers a call; will receive the next one
	aside                  // answers a call while others receive
)

// Valid asks the kernel whether the call still waits.
func (w *worker) Valid() bool { return w.listener.valid(w.n.id) }

// MayWait lets another worker receive, if there is one or one can be made.
func (w *worker) MayWait() bool { return w.stepAside() }

// Interrupted says that the caller has a signal to handle or is gone.
func (w *worker) Interrupted() bool { return w.interrupted.Load() == w.calls.Load() }

// Lend is not supported: a thread that waits for its answer sends nothing.
func (w *worker) Lend(int) (int, error) { return -1, errors.ErrUnsupported }

// stepAside makes another worker the receiver. The watch calls it too, when the
// call takes long. It reports false where there is none.
func (w *worker) stepAside() bool {
	if w.state.Load() != answering {
		return true
	}
	if w.successor() != nil {
		return false
	}
	if w.state.CompareAndSwap(answering, aside) {
		w.rouse()
		w.turn <- struct{}{}
	}
	return true
}

// run answers calls until there are no more to come, or until there are enough
// workers without it.
func (w *worker) run() error {
	// The thread's signal mask and credentials are its own: it ends here.
	w.tid = unix.Gettid()
	if err := interrupt.Block(); err != nil {
		return err
	}
	w.add()
	defer w.remove()
	handler := w.handler.Worker()
	w.call.Hold = w
	for w.becomeReceiver() {
		for w.receive() {
			w.serve(handler)
			if !w.state.CompareAndSwap(answering, receiving) {
				break
			}
		}
	}
	return nil
}

// becomeReceiver waits for its turn. It reports false when the worker is not
// needed any more.
func (w *worker) becomeReceiver() bool {
	w.state.Store(parked)
	if w.spare.Add(1) > maxSpare {
		w.spare.Add(-1)
		return false
	}
	defer w.spare.Add(-1)
	select {
	case <-w.turn:
		w.state.Store(receiving)
		return true
	case <-w.ended:
		return false
	}
}

// receive waits for the next call. It reports false when none can come any more.
func (w *worker) receive() bool {
	for failures := 0; !w.stopping.Load(); failures++ {
		switch errno := w.listener.receive(&w.n); errno {
		case 0:
			w.id.Store(w.n.id)
			w.caller.Store(int32(w.n.pid))
			w.calls.Add(1)
			w.state.Store(answering)
			if w.dozing.Load() {
				w.rouse()
			}
			return true
		case unix.EINTR: // called back
		case unix.ENOENT: // the caller died before it could be received, or all have
			w.pause(failures)
		default:
			w.log.Error("receiving a call", "error", errno)
			w.pause(failures + 10)
		}
	}
	return false
}

// pause keeps a failing request from being repeated without end: the watch says
// soon whether it is the last one.
func (w *worker) pause(failures int) {
	if failures > 3 {
		select {
		case <-w.ended:
		case <-time.After(time.Millisecond):
		}
	}
}

// serve answers the call that was received.
func (w *worker) serve(handler engine.Worker) {
	var a engine.Answer
	var done func(engine.Outcome)
	if w.call.Spec = w.index.Lookup(int(w.n.nr)); w.call.Spec != nil && w.n.pid != 0 {
		w.call.TID, w.call.Args = int(w.n.pid), w.n.args
		a, done = handler.Handle(&w.call)
	}
	out := w.answer(&w.n, a)
	if done != nil {
		done(out)
	}
}
