package main

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/config"
	"github.com/sidearmor/sidearmor/tracer/internal/engine/notify"
	"github.com/sidearmor/sidearmor/tracer/internal/engine/ptrace"
	"github.com/sidearmor/sidearmor/tracer/internal/filter"
	"github.com/sidearmor/sidearmor/tracer/internal/launch"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// begin starts the workload's first process under the engine that was chosen, or
// under the first one that works. The process waits for its release.
func (w *workload) begin(choice string, held filter.Options, cmd launch.Command) error {
	why := "it was chosen"
	if choice == config.EngineAuto {
		why = "it works here"
	}
	var notifyErr error
	if choice == config.EngineAuto && w.beginForEndpoints(held, cmd) {
		return nil
	}
	if choice != config.EnginePtrace {
		notifyErr = w.beginNotify(held, cmd)
		if notifyErr == nil && choice == config.EngineAuto && !notify.Serves(w.child.Listener) {
			w.child.Abandon()
			notifyErr = &launch.FilterError{Errno: unix.ENOSYS}
		}
		if notifyErr == nil {
			w.log.Info("system calls are held", "engine", w.engine.Name(), "why", why)
			return nil
		}
		var refused *launch.FilterError
		if choice == config.EngineNotify || !errors.As(notifyErr, &refused) {
			return notifyErr
		}
		why = "notify: " + notifyErr.Error()
	}
	if err := w.beginPtrace(held, cmd); err != nil {
		if notifyErr == nil {
			return err
		}
		return fmt.Errorf("system calls cannot be held here, neither by notify (%w) nor by ptrace (%w): let the container's seccomp profile allow "+
			"seccomp with a listener, or ptrace; see \"Engines\" in docs/tracer.md", notifyErr, err)
	}
	w.log.Info("system calls are held", "engine", w.engine.Name(), "why", why)
	return nil
}

// beginForEndpoints begins by ptrace where rules could deny whom a connection is for and
// the tracer may not take sockets: only a thread that is stopped can be made to hand one over.
func (w *workload) beginForEndpoints(held filter.Options, cmd launch.Command) bool {
	if !w.endpoints || process.MayBorrow() {
		return false
	}
	if err := w.beginPtrace(held, cmd); err != nil {
		w.log.Warn("a thread that changes an address during a call can get past rules about endpoints: pidfd_getfd is refused, and ptrace does not work", "error", err)
		return false
	}
	w.log.Info("system calls are held", "engine", w.engine.Name(), "why", "rules about endpoints can deny, and pidfd_getfd is refused")
	return true
}

// start starts the first process under a filter.
func (w *workload) start(held filter.Options, cmd launch.Command) (err error) {
	if cmd.Filter, err = filter.Program(held); err == nil {
		cmd.Traced = held.Trace
		w.child, err = launch.Start(cmd)
	}
	return err
}

func (w *workload) beginNotify(held filter.Options, cmd launch.Command) error {
	if err := w.start(held, cmd); err != nil {
		return err
	}
	w.engine = notify.New(notify.Options{
		Listener: w.child.Listener, Specs: syscalls.Table(), Receivers: receivers(held), Signalled: w.signalled, Threads: w.threads, Log: w.log,
	})
	return nil
}

func (w *workload) beginPtrace(held filter.Options, cmd launch.Command) error {
	held.Trace, held.Starts = true, false // all execs are followed
	if err := w.start(held, cmd); err != nil {
		return err
	}
	e, err := ptrace.New(w.child.PID, ptrace.Options{
		Specs: syscalls.Table(), Wait: w.await, Stopped: w.stopped, Threads: w.threads, Log: w.log,
	})
	if err != nil {
		w.child.Abandon()
		return err
	}
	w.engine = e
	return nil
}

// receivers is how many threads wait for held calls. Where chdir is held, which
// natively never fails with EINTR, a call is received at once.
func receivers(o filter.Options) int {
	if o.FollowCwd {
		return 3
	}
	return 1
}

// What is made only once the engine stands.
func (w *workload) signalled(tid int) bool { return w.processes.Signalled(tid) }
func (w *workload) stopped(tid int)        { w.reaper.Stopped(tid) }
func (w *workload) await(tid, options int) (int, unix.WaitStatus, error) {
	return w.reaper.Wait(tid, options)
}

// serve runs the engine, and waits for children, until both have ended. The first thread
// does the latter, and what is told of tracees is told to it as well.
func (w *workload) serve(ctx context.Context) {
	engine := func() {
		defer close(w.held)
		if err := w.engine.Run(ctx, w.supervisor); err != nil {
			w.log.Error("calls are no longer answered: they fail from now on", "error", err)
		}
	}
	reap := w.reaper.Run
	if w.child.Listener == nil {
		if err := w.reaper.Begin(); err != nil {
			w.log.Error("waiting for the workload", "error", err)
		}
		engine()
		return
	}
	w.running.Go(func() {
		defer w.child.Listener.Close()
		engine()
	})
	if err := reap(ctx); err != nil {
		w.log.Error("waiting for the workload", "error", err)
	}
}
