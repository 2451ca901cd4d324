package main

import (
	"context"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/filter"
	"github.com/sidearmor/sidearmor/tracer/internal/launch"
	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/supervise"
	"github.com/sidearmor/sidearmor/tracer/internal/thread"
)

// workload is the running workload and what runs for it.
type workload struct {
	log        *slog.Logger
	chosen     func(engine string) // is told which one it is
	endpoints  bool                // rules could deny whom a connection is for
	child      *launch.Child
	engine     engine.Engine
	supervisor *supervise.Supervisor
	processes  *process.Table
	reaper     *launch.Reaper
	threads    *thread.Maker
	running    sync.WaitGroup
	cancel     context.CancelFunc // ends the engine and the forwarding of signals
	held       chan struct{}      // closed when the engine has ended
}

// run runs the program to its end and returns its exit status. An error says that it
// did not start, and nothing of it runs any more. It must be called on the first thread.
func (w *workload) run(choice string, held filter.Options, cmd launch.Command, o supervise.Options) (int, error) {
	w.threads = thread.NewMaker()
	defer w.threads.Close()
	signals, err := launch.WatchSignals()
	if err != nil {
		return 0, err
	}
	if err := w.begin(choice, held, cmd); err != nil {
		return 0, err
	}
	w.chosen(w.engine.Name())
	targetErr := signals.Target(w.child.PID) // before the reaper can take it away
	w.reaper = launch.NewReaper(w.child.PID, w.child.Parent, w.log)
	o.Trace, o.Can, o.Threads = w.trace, w.engine.Can(), w.threads
	if err := w.supervise(o, held.FollowCwd); err != nil {
		w.child.Abandon()
		return 0, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.held = cancel, make(chan struct{})
	defer w.report()()
	w.running.Go(func() {
		err := targetErr
		if err == nil {
			err = signals.Forward(ctx)
		}
		if err != nil {
			w.log.Error("signals are no longer passed on", "error", err)
			return // calls still have to be answered
		}
		// A signal when the workload's first process has gone is for the tracer.
		cancel()
	})
	w.running.Go(func() { w.supervisor.WatchEntered(ctx) })
	w.running.Go(thread.Reserve)
	return w.release(ctx)
}

// supervise makes what answers the calls.
func (w *workload) supervise(o supervise.Options, followCwd bool) error {
	// Files that are made in the workload's place get the workload's mask. (It
	// starts with the one that the tracer was started with.)
	unix.Umask(0)
	var err error
	if o.Processes, err = process.NewTable(process.Options{FollowCwd: followCwd, FollowIDs: true}); err != nil {
		return err
	}
	if o.Paths, err = paths.New(); err != nil {
		return err
	}
	w.supervisor, w.processes = supervise.New(o), o.Processes
	return nil
}

// trace follows threads of the workload by ptrace.
func (w *workload) trace(threads ...int) (supervise.Trace, bool) {
	t, ok := w.reaper.Trace(threads...)
	return t, ok
}

// report lets the supervisor report what it sees, until stop, which waits until all is
// emitted that was to be reported.
func (w *workload) report() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var reporting sync.WaitGroup
	reporting.Go(func() { w.supervisor.Run(ctx) })
	return func() {
		cancel()
		reporting.Wait()
	}
}

// release lets the program start, and waits for the workload's end. As PID 1 it
// ends what is left, as the kernel would have done without the tracer. Else the
// workload's other processes may go on, and as they need their calls answered
// it waits for them too, as strace -f does.
func (w *workload) release(ctx context.Context) (int, error) {
	var releaseErr error
	w.running.Go(func() {
		releaseErr = w.child.Release()
		<-w.reaper.Main()
		if os.Getpid() == 1 {
			_ = unix.Kill(-1, unix.SIGKILL) // ESRCH: there are none
		}
		<-w.held
		w.cancel()
	})
	w.serve(ctx)
	w.running.Wait()
	return w.reaper.Code(), releaseErr
}
