package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/config"
	"github.com/sidearmor/sidearmor/tracer/internal/emit"
	"github.com/sidearmor/sidearmor/tracer/internal/identity"
	"github.com/sidearmor/sidearmor/tracer/internal/launch"
	"github.com/sidearmor/sidearmor/tracer/internal/policies"
	"github.com/sidearmor/sidearmor/tracer/internal/supervise"
)

// version is set by the linker.
var version = "unknown"

// Exit statuses that are not the workload's own: those of shells.
const (
	exitFailed        = 125 // the tracer could not do its work; the workload did not run
	exitUsage         = 2
	exitCannotExecute = 126
	exitNotFound      = 127
)

// run is the program.
func run(args, environ []string, stdout, stderr io.Writer) int {
	// All that falls to this process as a parent falls to its first thread: what is
	// started and waited for is so on one thread. (The Go runtime begins main on that
	// thread. If it has given it away by now, only more is woken than need be.)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := config.Parse(args, environ)
	if err != nil {
		return fail(stderr, exitUsage, err)
	}
	switch c.Command {
	case config.Help:
		_, err = io.WriteString(stdout, c.Text)
	case config.Version:
		_, err = fmt.Fprintln(stdout, "tracer", version)
	case config.Install:
		var path string
		if path, err = install(c.Dir); err == nil {
			_, err = fmt.Fprintln(stderr, "installed", path)
		}
	case config.Check:
		err = check(c, stdout)
	case config.Doctor:
		err = examine(c, environ, stdout)
	case config.Run:
		return runWorkload(c, environ, stderr, nil)
	case config.Test:
		return testPolicies(c, environ, stderr)
	case config.Learn:
		return learnPolicy(c, environ, stdout, stderr)
	}
	if err != nil {
		return fail(stderr, 1, err)
	}
	return 0
}

func fail(stderr io.Writer, code int, err error) int {
	fmt.Fprintln(stderr, "tracer:", err) // there is nowhere else to say it
	return code
}

// checkProc says what is wrong where /proc cannot tell of the workload.
func checkProc() error {
	pid, err := os.Readlink("/proc/self")
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errors.New("/proc is not mounted, or is that of another pid namespace: the tracer needs it")
	case err != nil:
		return fmt.Errorf("looking at /proc, which the tracer needs: %w", err)
	case pid != strconv.Itoa(os.Getpid()):
		return fmt.Errorf("/proc is that of another pid namespace, in which this process is %s and not %d: mount it anew", pid, os.Getpid())
	}
	return nil
}

// watcher is who watches what the workload does. It has the policies itself.
type watcher interface {
	Documents() []spolicy.Document
	Rules() *rules.Rules
}

// runWorkload runs the workload to its end and returns its exit status. tried is nil for
// a run that nobody watches.
func runWorkload(c config.Config, environ []string, stderr io.Writer, tried watcher) int {
	path, err := exec.LookPath(c.Argv[0])
	switch {
	case errors.Is(err, os.ErrPermission), errors.Is(err, unix.EISDIR):
		return fail(stderr, exitCannotExecute, err)
	case err != nil:
		return fail(stderr, exitNotFound, err)
	}
	if err := checkProc(); err != nil {
		return fail(stderr, exitFailed, err)
	}
	log, closeLog, err := newLogger(c.Log, stderr)
	if err != nil {
		return fail(stderr, exitFailed, err)
	}
	defer closeLog()
	// Events wait in a buffer of a bounded size, beside which there is little: with
	// the usual half of the memory left to garbage it would be twice as much.
	debug.SetGCPercent(50)
	// From here on other processes of this uid cannot look into this one.
	if err := launch.Protect(); err != nil {
		return fail(stderr, exitFailed, err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var background sync.WaitGroup
	defer background.Wait()
	defer cancel()

	who := identity.Discover(identity.Options{Environ: append(c.Identity, environ...), Logger: log})
	hub, live, err := newHub(ctx, c, who, &background, tried, log)
	if err != nil {
		return fail(stderr, exitFailed, err)
	}
	emitter, err := emit.New(emit.Options{
		URL: c.SidekickURL.Reveal(), URLGiven: c.SidekickURL.Given(), Format: emit.Format(c.Format),
		Token: c.Token, TokenFile: c.TokenFile, Prove: c.SidekickPolicies, CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile,
		BufferBytes: c.BufferBytes, Origin: who.Origin, Logger: log,
	})
	if err != nil {
		return fail(stderr, exitFailed, err)
	}
	background.Go(func() { _ = emitter.Run(ctx) }) // its error is ctx's
	// What is told of a workload that is not allowed to start is told as well.
	defer flush(emitter, c.FlushTimeout, log)

	if c.Opens == config.OpensLetRun {
		log.Warn("files that a rule could deny are opened by the workload itself (--opens=let-run): a thread that changes the path after the check gets past file rules")
	}
	inForce := hub.Rules
	if tried != nil {
		inForce = tried.Rules
	}
	held := hold(hub, c, live)
	w := &workload{log: log, chosen: emitter.SetEngine, endpoints: hub.DenyEndpoints()}
	code, err := w.run(c.Engine, held, launch.Command{
		Path: path, Args: c.Argv, Env: config.WorkloadEnviron(environ), NoNewPrivs: !launch.Can(unix.CAP_SYS_ADMIN),
		DiesWithTracer: c.OnTracerDeath == config.DeathKill,
	}, supervise.Options{
		Rules: inForce, Origin: who.Origin, Emit: counted(hub, emitter), Visible: func() rules.Operation { return hub.Visible(c.Visible()) },
		Aggregate: c.Aggregate, DropResource: c.DropResource, Now: time.Now, Log: log,
		Later: later(live, held), LetOpensRun: c.Opens == config.OpensLetRun,
	})
	if err != nil {
		code = fail(stderr, exitStatusOf(err), err)
	}
	log.Info("the workload has ended", "status", code)
	return code
}

// counted emits events, and counts what policies decided.
func counted(hub *policies.Hub, emitter *emit.Emitter) func(schema.Event) {
	return func(e schema.Event) {
		if e.Alert != nil {
			hub.Count(e.Alert.PolicyName, e.Alert.Action)
		}
		emitter.Emit(e)
	}
}

// flush sends the events that wait, as far as timeout lets it.
func flush(emitter *emit.Emitter, timeout time.Duration, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := emitter.Close(ctx); err != nil {
		log.Warn("the last events were not sent", "error", err)
	}
}

// exitStatusOf is what a shell would say of a program that does not start.
func exitStatusOf(err error) int {
	var e *launch.ExecError
	switch {
	case !errors.As(err, &e):
		return exitFailed
	case e.Errno == unix.ENOENT:
		return exitNotFound
	}
	return exitCannotExecute
}

// newLogger makes the tracer's own log: silent unless it was asked for, since
// standard error is the workload's.
func newLogger(c config.Log, stderr io.Writer) (*slog.Logger, func(), error) {
	if !c.Enabled {
		return slog.New(slog.DiscardHandler), func() {}, nil
	}
	out, closeOut := stderr, func() {}
	if c.File != "" {
		f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("opening the log: %w", err)
		}
		out, closeOut = f, func() { f.Close() }
	}
	return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: c.Level})), closeOut, nil
}
