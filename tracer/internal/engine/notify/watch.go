package notify

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/interrupt"
)

const (
	// look is how often the watch looks at calls that are being answered. A call
	// that takes longer is answered aside: a path on a network file system may
	// take seconds to resolve.
	look = 5 * time.Millisecond
	// maxHeard is about how many callers are looked at in one look: of more that wait,
	// each has its turn.
	maxHeard = 64
	// quiet is how many looks without a call it takes before the watch sleeps.
	quiet = 200
)

// watch sees to what the workers cannot: it notices that the last process under
// the filter has gone, which nobody who waits for a call is told; and it looks at
// calls that take long, whose callers may have signals to handle.
type watch struct {
	*service
	event int    // eventfd: stop waiting for the end of the listener
	looks uint64 // counts looks

	seen  map[*worker]uint64 // the worker's count of calls at the last look, while it answers
	heard map[*worker]uint64 // the same, when its caller had a signal to handle
}

func newWatch(s *service) (*watch, error) {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("notify: making the stop event: %w", err)
	}
	return &watch{service: s, event: event, seen: map[*worker]uint64{}, heard: map[*worker]uint64{}}, nil
}

// run returns when ctx ends or no process is left under the filter.
func (w *watch) run(ctx context.Context) {
	defer unix.Close(w.event)
	var looking sync.WaitGroup
	looking.Go(func() {
		w.lookAtCalls(ctx)
		one := [8]byte{1}
		if _, err := unix.Write(w.event, one[:]); err != nil {
			w.fail("stopping", err)
		}
	})
	w.awaitEnd()
	w.cancel()
	looking.Wait()
}

// awaitEnd waits until the listener hangs up or the event comes.
func (w *watch) awaitEnd() {
	// No event of the listener is asked for: the end is told without asking, and
	// each call would be told of otherwise.
	fds := []unix.PollFd{{Fd: int32(w.listener)}, {Fd: int32(w.event), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
		case err != nil:
			w.fail("waiting for the end of the workload", err)
			return
		case fds[1].Revents != 0, fds[0].Revents&(unix.POLLHUP|unix.POLLNVAL) != 0:
			return
		}
		// POLLERR alone: a signal came while the kernel waited for the filter's lock
		// (seccomp_notify_poll in kernel/seccomp.c). It says nothing of the filter.
	}
}

// lookAtCalls looks at the calls while there are any, until ctx ends.
func (w *watch) lookAtCalls(ctx context.Context) {
	for {
		if !w.doze(ctx) {
			return
		}
		w.lookWhileBusy(ctx)
	}
}

// lookWhileBusy looks at the calls until there have been none for a while.
func (w *watch) lookWhileBusy(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for unused := 0; unused < quiet; unused++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if w.lookOnce() {
			unused = 0
		}
	}
}

// doze sleeps until a call comes, and reports false when ctx ends. One that came
// before it was asleep has roused nobody.
func (w *watch) doze(ctx context.Context) bool {
	w.dozing.Store(true)
	if w.lookOnce() && w.dozing.CompareAndSwap(true, false) {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-w.roused:
		return true
	}
}

// lookOnce reports whether a call is being answered.
func (w *watch) lookOnce() (busy bool) {
	var slow []*worker
	w.each(func(k *worker) {
		calls := k.calls.Load()
		last, ok := w.seen[k]
		switch state := k.state.Load(); {
		case state == parked || state == receiving:
			delete(w.seen, k)
			if ok {
				busy = true
			}
			return
		case ok && last == calls:
			slow = append(slow, k)
		}
		busy, w.seen[k] = true, calls
	})
	w.looks++
	turns := uint64(len(slow)/maxHeard + 1)
	for _, k := range slow {
		k.stepAside()
		if (k.number+w.looks)%turns == 0 {
			w.hear(k, w.seen[k])
		}
	}
	if len(w.turn) > int(w.spare.Load()) {
		_ = w.successor() // there was none to be had when a receiver stepped aside
	}
	w.forget()
	return busy
}

// hear calls a worker back whose caller is gone or has a signal to handle. It
// does so at each look: a signal that comes just before the worker's system call
// begins to wait does not interrupt it. A signal must be seen twice, since
// another thread of the caller may be the one that takes it.
func (w *watch) hear(k *worker, calls uint64) {
	id, tid := k.id.Load(), int(k.caller.Load())
	if k.calls.Load() != calls {
		return // it has gone on to another call, and these may be that one's
	}
	if w.listener.valid(id) {
		if !w.signalled(tid) {
			delete(w.heard, k)
			return
		}
		if last, ok := w.heard[k]; !ok || last != calls {
			w.heard[k] = calls
			return
		}
	}
	k.interrupted.Store(calls)
	interrupt.Thread(k.tid)
}

// forget drops workers that have ended.
func (w *watch) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range w.seen {
		if _, ok := w.workers[k]; !ok {
			delete(w.seen, k)
			delete(w.heard, k)
		}
	}
}

// stop ends the workers. One that waits for a call must be called back, more than
// once if need be, see hear.
func (s *service) stop() {
	s.stopping.Store(true)
	close(s.ended)
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	for {
		s.each(func(w *worker) {
			w.interrupted.Store(w.calls.Load())
			interrupt.Thread(w.tid)
		})
		select {
		case <-done:
			return
		case <-time.After(200 * time.Microsecond):
		}
	}
}
