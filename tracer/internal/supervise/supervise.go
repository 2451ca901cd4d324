// Package supervise answers the calls that an engine holds: it decodes them,
// finds out who calls and what is meant, asks the rules, carries out what must
// not be raced, and reports what happened. It neither holds calls itself nor
// sends what it reports.
package supervise

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
	"github.com/sidearmor/sidearmor/tracer/internal/thread"
)

// Options are what a Supervisor works with. All fields but the last six are needed.
type Options struct {
	Processes *process.Table
	Paths     *paths.Resolver
	Rules     func() *rules.Rules    // the rules in force; called once for every call
	Origin    func() schema.Origin   // who this container is, as far as known
	Emit      func(e schema.Event)   // must not block, and keep of the event nothing but strings
	Visible   func() rules.Operation // what is logged now when no policy matches
	Now       func() time.Time       // the clock of events
	Log       *slog.Logger

	// Trace says that the calling thread is about to attach to threads by ptrace,
	// and gives what is then told of them; false while another thread follows one
	// of them. nil does without: an exec is looked at again at the first held call
	// of its program only.
	Trace func(threads ...int) (Trace, bool)
	// Later is what rules that come later could deny: what must be known by then is
	// followed from the start.
	Later rules.Operation
	// DropResource leaves the Resource out of logs of processes, as KubeArmor's
	// dropResourceFromProcessLogs.
	DropResource bool
	// Aggregate joins logs that are alike.
	Aggregate bool
	// Can is what the engine can do. Where it follows calls, execs need no Trace.
	Can engine.Abilities
	// LetOpensRun lets an open run that the rules allow, although another thread of
	// its caller could change the path meanwhile.
	LetOpensRun bool
	Threads     *thread.Maker
}

// Trace is what is told of threads that are traced.
type Trace interface {
	// Next waits for the next stop of one of them, or its end: an end without a
	// thread is one that nothing is told of. It is called on the thread that has
	// attached.
	Next() (tid int, status unix.WaitStatus)
	// Release says that none of them is traced any more.
	Release()
}

// Supervisor is the handler of held calls.
type Supervisor struct {
	Options

	reports  reports
	handlers [syscalls.Count]handler
	approved approvals
	domains  domains

	connections connections
	accepting   atomic.Int32 // calls that wait for a connection in the tracer

	mu     sync.Mutex
	warned map[string]bool // programs whose calls could not be understood, said once each
}

// handler answers the calls of one row of the table.
type handler func(w *worker, c *call) engine.Answer

// New makes a supervisor. Run must run while it answers calls.
func New(o Options) *Supervisor {
	s := &Supervisor{Options: o, warned: map[string]bool{}, handlers: handlers()}
	s.reports.wake = make(chan struct{}, 1)
	return s
}

// handlers has one row for each call of the table.
func handlers() (h [syscalls.Count]handler) {
	for id, f := range map[syscalls.ID]handler{
		syscalls.Execve: (*worker).exec, syscalls.Execveat: (*worker).exec,
		syscalls.Open: (*worker).open, syscalls.Creat: (*worker).open,
		syscalls.Openat: (*worker).open, syscalls.Openat2: (*worker).open,
		syscalls.Connect: (*worker).connect, syscalls.Socket: (*worker).socket,
		syscalls.Bind: (*worker).bind, syscalls.Listen: (*worker).listen,
		syscalls.Accept: (*worker).accept, syscalls.Accept4: (*worker).accept,
		syscalls.Sendto: (*worker).sendsTo, syscalls.Sendmsg: (*worker).sendsTo, syscalls.Sendmmsg: (*worker).sendsTo,
		syscalls.Getsockopt: (*worker).peerCredentials,
		syscalls.Write:      (*worker).sendsTo, syscalls.Writev: (*worker).sendsTo,
		syscalls.Chdir: (*worker).changesDirectory, syscalls.Fchdir: (*worker).changesDirectory,
		syscalls.Chroot: (*worker).moves, syscalls.PivotRoot: (*worker).moves,
		syscalls.Unshare: (*worker).moves, syscalls.Setns: (*worker).moves,
		syscalls.LandlockCreateRuleset: (*worker).createRuleset, syscalls.LandlockRestrictSelf: (*worker).restrictSelf,
		syscalls.Mount: (*worker).mounts,
		syscalls.Mmap:  (*worker).mapsExecutable, syscalls.Mprotect: (*worker).mapsExecutable, syscalls.PkeyMprotect: (*worker).mapsExecutable,
		syscalls.Prlimit64: (*worker).aims, syscalls.Setpriority: (*worker).aims, syscalls.IoprioSet: (*worker).aims,
		syscalls.SchedSetparam: (*worker).aims, syscalls.SchedSetscheduler: (*worker).aims,
		syscalls.SchedSetaffinity: (*worker).aims, syscalls.SchedSetattr: (*worker).aims,
	} {
		h[id] = f
	}
	for _, row := range syscalls.Table() {
		switch {
		case h[row.ID] != nil:
		case row.Op == rules.FileWrite:
			h[row.ID] = (*worker).changes
		case row.Op&rules.Syscall != 0 && row.State && row.Victim == syscalls.None:
			h[row.ID] = (*worker).changesUser
		case row.Op&rules.Syscall != 0:
			h[row.ID] = (*worker).escapes
		}
	}
	return h
}

// worker answers calls on one OS thread.
type worker struct {
	*Supervisor
	standIn *process.StandIn
	call    call
	access  rules.Access         // of the file that the call opens, or the socket that it uses
	after   func(engine.Outcome) // is told, of call
}

// call is everything about the call at hand: one snapshot of the rules, the
// process, and what is to be told of it.
type call struct {
	*engine.Call
	rules   *rules.Rules
	process *process.Process
	report  report
	// verify looks at what came of an exec that was let run.
	verify *verification
	// approved says that the exec that was let run cannot be followed.
	approved bool
	audited  bool // a rule may be about the call by its name
	hidden   bool // but for that, nothing is to be told
	// domain is that of Landlock that the caller of an open is in, nil for none.
	domain *domain
	waits  bool // the open waits for another, as that of a named pipe
	// ruleset is one of Landlock's that was made for the caller.
	ruleset int
	// opened is a directory that was opened in the place of a caller that may not
	// be readable any more.
	opened *openedDirectory
	// installed ends the wait of those who look for opened or ruleset.
	installed func()
}

// Worker makes a worker of the calling thread.
func (s *Supervisor) Worker() engine.Worker {
	w := &worker{Supervisor: s}
	w.after = func(o engine.Outcome) { w.told(&w.call, o) }
	var err error
	if w.standIn, err = s.Processes.NewStandIn(); err != nil {
		s.Log.Error("files cannot be opened in the place of the workload", "error", err)
	}
	return w
}

// Handle answers one call.
func (w *worker) Handle(held *engine.Call) (engine.Answer, func(engine.Outcome)) {
	c := &w.call
	*c = call{Call: held, rules: w.Rules(), ruleset: -1}
	a := w.answer(c)
	if c.report.due && c.report.verdict.Alert {
		a = a.Follow() // an alert tells the call's own result, where that can be had
	}
	if w.Can.Follow && a.Follows() {
		// Others are answered before this one ends.
		kept, of := *c, *held
		kept.Call = &of
		return a, func(o engine.Outcome) { w.told(&kept, o) }
	}
	if c.opened != nil || c.ruleset >= 0 {
		c.installed = c.process.Installing()
		return a, w.after
	}
	if c.report.due || c.verify != nil || c.approved {
		return a, w.after
	}
	return a, nil
}

func (w *worker) answer(c *call) engine.Answer {
	p, err := w.Processes.Get(c.TID)
	if err != nil {
		if (c.Spec.Op == 0 || c.Spec.State) && !errors.Is(err, process.ErrGone) {
			return engine.Fail(unix.EAGAIN) // it changes what is kept of a process that is not known
		}
		return w.unknown(c, err)
	}
	c.process = p
	c.audited = c.rules.AuditsCall(c.Spec.Name)
	w.placeInDomain(c)
	if !w.vet(c) {
		return engine.Fail(unix.EACCES)
	}
	if h := w.handlers[c.Spec.ID]; h != nil {
		return h(w, c)
	}
	return engine.Continue()
}

// told ends the handling of a call, when it has been answered.
func (w *worker) told(c *call, o engine.Outcome) {
	switch {
	case c.verify != nil && w.Can.Follow:
		w.verifyHeld(c, o)
	case c.verify != nil:
		o = w.verifyExec(c, o)
	case c.approved && w.Can.Follow:
		w.vetHeld(c, o)
	case c.approved && o.Sent:
		w.awaitImage(c)
	}
	if c.ruleset >= 0 {
		w.keepRuleset(c, o)
	}
	if c.opened != nil && o.Sent && o.Known && o.Errno == 0 {
		c.process.Opened(int(o.Result), c.opened.path, c.opened.id)
	}
	if c.installed != nil {
		c.installed()
	}
	if c.report.due && o.Sent {
		w.finishReport(c, o)
	}
}

// maxWarned bounds the memory of warnings; what comes later is said at debug level.
const maxWarned = 256

// warn warns the first time that a program is complained of, and says the rest at
// debug level: a workload must not fill the log.
func (s *Supervisor) warn(program, message string, args ...any) {
	s.mu.Lock()
	level := slog.LevelDebug
	if !s.warned[program] && len(s.warned) < maxWarned {
		s.warned[program], level = true, slog.LevelWarn
	}
	s.mu.Unlock()
	s.Log.Log(context.Background(), level, message, append(args, "program", program)...) //nolint:sloglint // the callers' messages are constants
}
