package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sidearmor/sidearmor/outputs"
)

const (
	// grace is how long a job may go on after the time is up: an acknowledgement, an
	// output that does not hear its context at once.
	grace = ackTimeout + time.Second

	// cutAfter is how long a request may take about events that left the backlog. Where
	// others are in it too, it doubles with each request that is cut, so often.
	cutAfter   = time.Second
	cutDoubles = 2

	// maxInFlightBytes bounds what is in flight at once, unless it is one request.
	maxInFlightBytes = 8 << 20
)

// worker delivers to one output, alerts before logs. Its fields belong to the
// goroutine of run.
type worker struct {
	target  Target
	dead    DeadLetters
	report  reporter
	metrics *outputMetrics
	log     *slog.Logger
	maxAge  time.Duration
	board   *board
	paced   bool // what is to be digested is read at a pace

	alerts, logs lane
	pace         *pacer
	idle         []outputs.Output // each is for one request at a time
	inFlight     map[*job]bool    // chores too
	results      chan result
	drain        *drain // nil until the sidekick stops
}

// result is what became of a job.
type result struct {
	job *job
	err error
}

func (w *worker) lanes() []*lane { return []*lane{&w.alerts, &w.logs} }

// ordered says whether events are promised in order.
func (w *worker) ordered() bool { return len(w.target.More) == 0 }

// run works until ctx ends, and then delivers what is left until finish ends, at
// the deadline, or nothing can be done before it.
func (w *worker) run(ctx, finish context.Context, deadline func() time.Time) {
	var feeders sync.WaitGroup
	defer feeders.Wait()
	reading, cancel := context.WithCancel(finish)
	defer cancel()
	w.idle = append([]outputs.Output{w.target.Output}, w.target.More...)
	w.inFlight = map[*job]bool{}
	w.results = make(chan result, len(w.idle)+len(w.lanes()))
	g := &gate{target: &w.target, report: w.report, heldBack: w.metrics.filtered, undecided: w.metrics.undecided, log: w.log}
	feed := func(l *lane, r Reader) {
		l.aside.maxAttempts = w.target.maxAttempts()
		l.holder = &plain{}
		if w.target.digests() {
			l.holder = newGrouped(w.target.DigestWindow, w.metrics.merged.Inc, w.report)
		}
		if r == nil {
			return
		}
		f := &feeder{
			limits: limits(&w.target), maxAge: w.maxAge, reader: r, stop: ctx,
			out: make(chan *batch), log: w.log, gate: g,
		}
		if w.target.digests() && w.paced {
			f.pace = rate.NewLimiter(digestPace, digestBurst)
		}
		l.reader, l.batches = r, f.out
		feeders.Go(func() { f.run(reading) })
	}
	feed(&w.alerts, w.target.Alerts)
	feed(&w.logs, w.target.Logs)
	w.loop(ctx, finish, deadline)
}

func (w *worker) loop(ctx, finish context.Context, deadline func() time.Time) {
	stop := ctx.Done()
	for {
		w.advance(finish)
		wait := w.wait(time.Now())
		if w.drain != nil {
			if w.drained(finish) {
				return
			}
			wait = min(wait, drainPoll)
		}
		timer := time.NewTimer(wait)
		select {
		case b := <-w.alerts.intake():
			w.add(&w.alerts, b)
		case b := <-w.logs.intake():
			w.add(&w.logs, b)
		case r := <-w.results:
			w.finished(r)
		case <-timer.C:
		case <-w.alerts.fellBehind():
		case <-w.logs.fellBehind():
		case <-stop:
			stop, w.drain = nil, &drain{deadline: deadline(), active: time.Now()}
			for _, l := range w.lanes() {
				l.holder.flush()
				l.aside.hasten(time.Now())
			}
		case <-finish.Done():
			timer.Stop()
			w.abandon()
			return
		}
		timer.Stop()
	}
}

func (w *worker) add(l *lane, b *batch) {
	l.add(b)
	if w.drain != nil {
		w.drain.active = time.Now()
	}
}

// advance does what can be done now.
func (w *worker) advance(ctx context.Context) {
	select { // alerts that are there go before logs
	case b := <-w.alerts.intake():
		w.add(&w.alerts, b)
	default:
	}
	now := time.Now()
	for _, l := range w.lanes() {
		w.remind(l, now)
		w.cut(l, now)
	}
	w.start(ctx)
	for w.alerts.holder.absorb(now) || w.logs.holder.absorb(now) {
		w.start(ctx)
	}
	w.start(ctx)
}

// start begins what there is to do: for each lane one chore, and requests as long
// as there are outputs for them. Logs that cannot be delivered do not hold up
// alerts: only their own lane waits.
func (w *worker) start(ctx context.Context) {
	now := time.Now()
	for _, l := range w.lanes() {
		if l.busy || now.Before(l.chores) {
			continue
		}
		if p := l.chore(now); p != nil {
			l.busy = true
			w.do(ctx, l, p, nil)
		}
	}
	for _, l := range w.lanes() {
		for len(w.idle) > 0 && w.hasMemory() && w.pace.take(now) {
			p := l.next(now)
			if p == nil {
				w.pace.untake()
				break
			}
			l.inFlight++
			w.do(ctx, l, p, w.idle[0])
			w.idle = w.idle[1:]
		}
	}
}

// hasMemory says whether there is memory for one more request.
func (w *worker) hasMemory() bool {
	bytes := 0
	for j := range w.inFlight {
		bytes += j.bytes
	}
	return bytes < maxInFlightBytes
}

// do starts a job; one without an output is a chore.
func (w *worker) do(ctx context.Context, l *lane, p *parcel, o outputs.Output) {
	j := &job{
		lane: l, output: o, target: &w.target, reader: l.reader, dead: w.dead, report: w.report, metrics: w.metrics, log: w.log,
		board: w.board, maxAge: w.maxAge,
		parcel: p, bytes: p.bytes(), start: time.Now(),
	}
	j.from, j.to = p.ends()
	ctx, j.cancel = context.WithCancel(ctx)
	w.inFlight[j] = true
	go func() { w.results <- result{j, j.run(ctx)} }()
}

// wait is how long nothing will change by time alone.
func (w *worker) wait(now time.Time) time.Duration {
	var at time.Time
	for _, l := range w.lanes() {
		if due, some := l.ready(now); some && len(w.idle) > 0 && w.hasMemory() {
			at = earlier(at, latest(latest(due, now), w.pace.next(now)))
		}
		if behind := l.behind(); behind > 0 {
			for j := range w.inFlight {
				if end := j.end(l, behind); !end.IsZero() {
					at = earlier(at, latest(end, now))
				}
			}
		}
		if wake := l.wake(); !wake.IsZero() && (!l.busy || wake.After(now)) {
			at = earlier(at, latest(wake, now))
		}
	}
	if at.IsZero() {
		return math.MaxInt64
	}
	return at.Sub(now)
}

// finished takes in what became of a job.
func (w *worker) finished(r result) {
	j, l, now := r.job, r.job.lane, time.Now()
	j.cancel()
	delete(w.inFlight, j)
	if w.drain != nil {
		w.drain.active = now
	}
	if j.output == nil {
		w.choreDone(l, j.parcel, r.err, now)
		return
	}
	l.inFlight--
	w.idle = append(w.idle, j.output)
	if j.called {
		w.pace.sentOne(now, max(j.pause, retryAfter(r.err)))
	} else {
		w.pace.untake()
	}
	var f *failure
	switch {
	case r.err == nil:
		w.release(l, j.parcel, now)
		w.recovered(l, j, now)
	case errors.As(r.err, &f):
		if j.cut { // that says nothing about its events
			f.class = outputs.RateLimited
			f.err = fmt.Errorf("no answer within %s, and its events have left the backlog", now.Sub(j.start).Round(time.Millisecond))
		}
		w.missed(l, j, f, now)
	}
	w.showStatus()
}

// cut ends requests that take their time with events that have left the backlog:
// what hangs must not hold their place in the queue.
func (w *worker) cut(l *lane, now time.Time) {
	behind := l.behind()
	for j := range w.inFlight {
		if end := j.end(l, behind); !end.IsZero() && !now.Before(end) {
			if j.to > behind {
				l.cuts++
			}
			j.cut = true
			j.cancel()
		}
	}
}

// end is when a request is cut of which events up to behind have left the backlog; zero
// for never. A service that is slow has the time it needs for the others.
func (j *job) end(l *lane, behind uint64) time.Time {
	switch {
	case j.lane != l || j.output == nil || j.cut || j.from > behind:
		return time.Time{}
	case j.to <= behind:
		return j.start.Add(cutAfter)
	}
	return j.start.Add(max(cutAfter<<min(l.cuts, cutDoubles), 2*l.took))
}

// choreDone takes back what is left of a chore. What needs no receiver says nothing
// of the service.
func (w *worker) choreDone(l *lane, p *parcel, err error, now time.Time) {
	l.busy = false
	defer w.showStatus()
	if err == nil {
		w.release(l, p, now)
		return
	}
	w.back(l, p, now)
	if !errors.Is(err, errKept) {
		l.chores = now.Add(firstBackoff)
		w.log.Warn("dead letters could not be stored, trying again", "error", err)
	}
}

func (w *worker) release(l *lane, p *parcel, now time.Time) {
	if !p.aside {
		l.holder.done(p, now)
	}
}

// back puts a parcel where it came from.
func (w *worker) back(l *lane, p *parcel, now time.Time) {
	if p.aside && len(p.items) > 0 {
		l.aside.parcels = append(l.aside.parcels, p)
		return
	}
	l.holder.back(p, now)
}

// abandon gives jobs under way a moment to end. One that does not is left behind:
// the process is about to end, and its events come again.
func (w *worker) abandon() {
	timeout := time.After(grace)
	for len(w.inFlight) > 0 {
		select {
		case r := <-w.results:
			w.finished(r)
		case <-timeout:
			w.log.Error("delivery does not end, it is left behind")
			return
		}
	}
}

// digests says whether similar events become one message.
func (t *Target) digests() bool {
	_, can := t.Output.(outputs.Digester)
	return can && t.DigestWindow > 0
}

func (t *Target) maxAttempts() int {
	if t.MaxAttempts == 0 {
		return DefaultMaxAttempts
	}
	return t.MaxAttempts
}
