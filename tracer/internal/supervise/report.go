package supervise

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// report is what is to be told of a call. Of what is not known it has nothing: a
// report with gaps is better than none.
type report struct {
	due     bool // there is something to tell
	verdict rules.Verdict
	op      rules.Operation
	at      time.Time
	spec    *syscalls.Spec
	callArg [6]uint64
	flags   uint64 // of the open or the exec
	result  string
	denied  bool // whatever the call gave: what came of it has been killed

	who *process.Snapshot
	uid int
	cwd string

	program  string   // Process: the file
	args     []string // and its arguments
	resource string   // File, and Network where no address is known
	to       sockaddr // Network
	protocol string   // of its socket
	owner    int      // File: of the file
	detail   string   // what Data says beside the call's arguments
	data     string   // Data, where it is not about the call
	execID   string   // of what has entered from outside
	count    int      // of the calls that are alike, where logs are joined
}

// reported says whether an operation is told of: every alert is, every other one
// that is visible, and one that a rule about the call may be about.
func (w *worker) reported(v rules.Verdict, op rules.Operation) bool {
	c := &w.call
	c.hidden = !v.Alert && w.Visible()&op == 0
	return !c.hidden || c.audited
}

// beginReport begins the report of the call. Who makes it is taken down now: once
// it has been answered, the caller may run another program, or be gone.
func (w *worker) beginReport(c *call, v rules.Verdict) {
	r := &c.report
	r.due, r.verdict, r.at, r.spec, r.callArg = true, v, w.Now(), c.Spec, c.Args
	r.take(c)
}

// take takes down who made the call.
func (r *report) take(c *call) {
	r.who = c.process.Snapshot(c.Spec.Op != rules.Process)
	r.uid, _ = c.process.UID(c.TID)
	r.cwd, _ = c.process.Cwd(c.TID)
}

// parentIs says which program the parent runs, where that is known better.
func (r *report) parentIs(program string) {
	who := *r.who
	who.Parent = program
	r.who = &who
}

// finishReport ends the report of a call that was answered.
func (w *worker) finishReport(c *call, o engine.Outcome) {
	r := &c.report
	switch {
	case r.denied:
		r.result = schema.ResultPermissionDenied
	case o.Known && o.Errno == unix.ENOENT:
		return // KubeArmor does not tell of what is not there either
	case o.Known && o.Errno == unix.EINPROGRESS:
		r.result = schema.ResultPassed // the connection is on its way
	case o.Known && o.Errno != 0:
		r.result = resultOf(o.Errno)
	case o.Known:
		r.result = schema.ResultPassed
	}
	if !c.hidden || r.denied {
		w.tell(r)
	}
	if c.audited {
		w.audit(c)
	}
}

// audit tells of a call once more, where a rule about it by its name says so.
func (w *worker) audit(c *call) {
	r := c.report
	a := rules.Access{Operation: rules.Syscall, Name: r.spec.Name, Path: r.resource, Source: r.who.Exe}
	if r.program != "" {
		a.Path = r.program
	}
	if r.verdict = c.rules.Decide(&a); r.verdict.Alert {
		r.op = rules.Syscall
		w.tell(&r)
	}
}

// tell hands a report over to Run.
func (s *Supervisor) tell(r *report) {
	if !s.reports.add(r) {
		s.record(new(recorder), r)
	}
}

// record sends a report in KubeArmor's form.
func (s *Supervisor) record(f *recorder, r *report) {
	origin := s.Origin()
	e := f.event(r, &origin)
	if s.DropResource && e.Kind == schema.KindLog && r.op == rules.Process {
		e.Log.Resource = ""
	}
	s.Emit(e)
}

const (
	// maxReports bounds the reports that wait to be brought into their form. Where
	// more come, each worker does it itself.
	maxReports = 2048
	// rest is how long the reporter lets reports gather, and idle how often in turn
	// it finds none before it waits to be woken: waking it costs a call of the
	// workload more than adding a report.
	rest = time.Millisecond
	idle = 50
)

// reports are on their way from the workers to the reporter, which brings them
// into KubeArmor's form beside the calls of the workload.
type reports struct {
	mu      sync.Mutex
	waiting []report
	asleep  bool
	closed  bool
	wake    chan struct{} // capacity 1
}

// add hands over a report. It is false where many wait already.
func (q *reports) add(r *report) bool {
	q.mu.Lock()
	if q.closed || len(q.waiting) >= maxReports {
		q.mu.Unlock()
		return false
	}
	q.waiting = append(q.waiting, *r)
	wake := q.asleep
	q.asleep = false
	q.mu.Unlock()
	if wake {
		q.wake <- struct{}{} // never blocks: once for each time that the reporter sleeps
	}
	return true
}

// Run brings reports into their form until ctx ends, and those that are there by
// then. What is reported later is sent by whoever reports it.
func (s *Supervisor) Run(ctx context.Context) {
	q := &s.reports
	var batch []report
	var f recorder
	var alike aggregate
	send := func(r *report) { s.record(&f, r) }
	for unused := 0; ; {
		q.mu.Lock()
		batch, q.waiting = q.waiting, batch[:0]
		if len(batch) > 0 {
			unused = 0
		} else if ctx.Err() != nil {
			q.closed = true
			q.mu.Unlock()
			alike.flush(send)
			s.leaveDomains()
			return
		} else if unused++; unused > idle {
			q.asleep = true
		}
		asleep := q.asleep
		q.mu.Unlock()
		for i := range batch {
			if !s.Aggregate || !alike.add(&batch[i], s.Now()) {
				send(&batch[i])
			}
		}
		clear(batch)
		if alike.due(s.Now()) {
			alike.flush(send)
		}
		q.pause(ctx, asleep, len(alike.waiting) > 0)
	}
}

// pause waits for reports; with soon, not for long.
func (q *reports) pause(ctx context.Context, asleep, soon bool) {
	if asleep {
		var late <-chan time.Time
		if soon {
			timer := time.NewTimer(aggregateFor / 4)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-q.wake:
			return
		case <-late:
		case <-ctx.Done():
		}
		q.mu.Lock()
		q.asleep = false
		q.mu.Unlock()
		select {
		case <-q.wake: // somebody was about to wake it
		default:
		}
		return
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
