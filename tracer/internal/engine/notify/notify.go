// Package notify is the engine that holds calls by seccomp user notification
// (seccomp_unotify(2)). It knows nothing of what the calls mean.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/interrupt"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
	"github.com/sidearmor/sidearmor/tracer/internal/thread"
)

const (
	// maxWorkers bounds the threads: as many calls can wait for others at a time.
	maxWorkers = 1024
	// maxSpare is how many workers are kept for the next call that may wait.
	maxSpare = 2
)

// Options are what an Engine works with.
type Options struct {
	Listener *os.File // not closed by the engine
	Specs    []syscalls.Spec
	// Receivers is how many threads wait for calls, 1 if it is 0. One is fastest. A
	// signal can fail a call with EINTR until it is received: more receive it sooner
	// while others are being answered.
	Receivers int
	// Signalled says whether a thread has a signal to handle. It is asked for
	// callers whose calls take long.
	Signalled func(tid int) bool
	Threads   *thread.Maker
	Log       *slog.Logger
}

// Engine serves one listener.
type Engine struct {
	Options
	can engine.Abilities
}

// New makes an engine.
func New(o Options) *Engine {
	return &Engine{Options: o, can: engine.Abilities{Install: true, Atomic: waitsKillable()}}
}

// Name is the engine's name on the command line.
func (e *Engine) Name() string { return "notify" }

// Can says what the engine can do on this kernel.
func (e *Engine) Can() engine.Abilities { return e.can }

// Run serves h until no process is left under the filter, or ctx ends. Calls
// that are held when it returns fail with ENOSYS once the listener is closed.
func (e *Engine) Run(ctx context.Context, h engine.Handler) error {
	if err := interrupt.Catch(); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	s := &service{
		can: e.can, signalled: e.Signalled, threads: e.Threads, log: e.Log, handler: h,
		listener: listener(e.Listener.Fd()), index: syscalls.NewIndex(e.Specs),
		turn: make(chan struct{}, max(e.Receivers, 1)), ended: make(chan struct{}), roused: make(chan struct{}, 1),
		workers: map[*worker]struct{}{},
	}
	s.listener.preferThisCPU()
	watch, err := newWatch(s)
	if err != nil {
		return err
	}
	ctx, s.cancel = context.WithCancel(ctx)
	defer s.cancel()
	for range cap(s.turn) {
		s.turn <- struct{}{}
		if err := s.newWorker(); err != nil {
			s.fail("starting a thread", err)
			s.cancel()
		}
	}
	watch.run(ctx)
	s.stop()
	return s.err
}

// service is one Run.
type service struct {
	can       engine.Abilities
	signalled func(tid int) bool
	threads   *thread.Maker
	log       *slog.Logger
	handler   engine.Handler
	listener  listener
	index     syscalls.Index

	turn     chan struct{} // a receiver is missing; capacity Receivers
	ended    chan struct{} // closed when there are no more calls
	stopping atomic.Bool   // the same
	spare    atomic.Int32  // workers that are parked

	dozing atomic.Bool   // the watch sleeps until it is roused
	roused chan struct{} // capacity 1

	noAddFDSend atomic.Bool // the kernel is older than 5.14
	forgotten   forgotten

	mu       sync.Mutex
	workers  map[*worker]struct{}
	started  int    // workers that run or are about to
	numbered uint64 // workers that were ever started
	err      error
	cancel   context.CancelFunc // ends the watch, and so the service
	running  sync.WaitGroup
}

// errEnough says that there are as many workers as there may be.
var errEnough = errors.New("too many calls wait for others")

// successor makes sure that there is a worker who will receive once this one does not.
func (s *service) successor() error {
	if int(s.spare.Load()) > len(s.turn) {
		return nil
	}
	return s.newWorker()
}

// newWorker starts a worker, who waits for its turn. None can be had where the workload
// has as many processes and threads as it may, of which the tracer's are some.
func (s *service) newWorker() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started >= maxWorkers {
		return errEnough
	}
	w := &worker{service: s, number: s.numbered + 1}
	s.running.Add(1)
	err := s.threads.Start(func() {
		defer s.running.Done()
		if err := w.run(); err != nil {
			s.fail("preparing a thread", err)
			s.cancel()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.started--
	})
	if err != nil {
		s.running.Done()
		return err
	}
	s.started++
	s.numbered++
	return nil
}

func (w *worker) add() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.workers[w] = struct{}{}
}

func (w *worker) remove() {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.workers, w)
}

// rouse wakes the watch.
func (s *service) rouse() {
	if s.dozing.CompareAndSwap(true, false) {
		s.roused <- struct{}{} // never blocks: once for each time that the watch dozes
	}
}

// each calls f for every worker.
func (s *service) each(f func(*worker)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.workers {
		f(w)
	}
}

// fail keeps the first error.
func (s *service) fail(doing string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = fmt.Errorf("notify: %s: %w", doing, err)
	}
}
