package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/bits"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sidearmor/sidearmor/outputs"
)

// grace is how long a job may go on after the time is up: an acknowledgement, an
// output that does not hear its context at once.
const grace = ackTimeout + time.Second

// worker delivers to one output, one parcel at a time, alerts before logs. Its
// fields belong to the goroutine of run.
type worker struct {
	target  Target
	dead    DeadLetters
	metrics *outputMetrics
	log     *slog.Logger
	maxAge  time.Duration
	board   *board

	alerts, logs lane
	pace         *pacer
	paced        bool  // the pacer waits for the job under way
	busy         *lane // whose parcel is under way
	results      chan result
	drain        *drain // nil until the sidekick stops
}

// lane is one of the two streams of an output.
type lane struct {
	reader   Reader // nil when the output does not get the stream
	batches  chan *batch
	holder   holder
	failures int       // attempts that failed in a row
	failing  time.Time // since when
	resume   time.Time // no attempt before
	chores   time.Time // no chore before
	trouble  trouble
}

// result is what became of a job.
type result struct {
	job *job
	err error
}

// run works until ctx ends, and then delivers what is left until finish ends, at
// the deadline, or nothing can be done before it.
func (w *worker) run(ctx, finish context.Context, deadline func() time.Time) {
	var feeders sync.WaitGroup
	defer feeders.Wait()
	reading, cancel := context.WithCancel(finish)
	defer cancel()
	w.results = make(chan result, 1)
	g := &gate{target: &w.target, heldBack: w.metrics.filtered, undecided: w.metrics.undecided, log: w.log}
	feed := func(l *lane, r Reader) {
		l.holder = &plain{}
		if w.target.digests() {
			l.holder = newPile(w.target.DigestWindow)
		}
		if r == nil {
			return
		}
		f := &feeder{
			limits: limits(&w.target), maxAge: w.maxAge, reader: r, stop: ctx,
			out: make(chan *batch), log: w.log, gate: g,
		}
		if w.target.digests() {
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
			w.alerts.add(b, w.drain)
		case b := <-w.logs.intake():
			w.logs.add(b, w.drain)
		case r := <-w.results:
			w.finished(r)
		case <-timer.C:
		case <-stop:
			stop, w.drain = nil, &drain{deadline: deadline(), active: time.Now()}
			w.alerts.holder.flush()
			w.logs.holder.flush()
		case <-finish.Done():
			timer.Stop()
			w.abandon()
			return
		}
		timer.Stop()
	}
}

// intake is where the next batch comes from, when there is room for one.
func (l *lane) intake() chan *batch {
	if l.holder.ready() {
		return l.batches
	}
	return nil
}

func (l *lane) add(b *batch, d *drain) {
	l.holder.add(b)
	if d != nil {
		d.active = time.Now()
	}
}

// advance does what can be done now.
func (w *worker) advance(ctx context.Context) {
	select { // alerts that are there go before logs
	case b := <-w.alerts.intake():
		w.alerts.add(b, w.drain)
	default:
	}
	w.start(ctx)
	for w.alerts.holder.absorb(time.Now()) || w.logs.holder.absorb(time.Now()) {
		w.start(ctx)
	}
	w.start(ctx)
}

// start begins a job if there is one to do and none under way. Logs that cannot be
// delivered do not hold up alerts: only their own lane waits.
func (w *worker) start(ctx context.Context) {
	if w.busy != nil {
		return
	}
	now := time.Now()
	for _, l := range []*lane{&w.alerts, &w.logs} {
		if now.Before(l.chores) {
			continue
		}
		if p := l.holder.chore(now); p != nil {
			w.do(ctx, l, p)
			return
		}
	}
	for _, l := range []*lane{&w.alerts, &w.logs} {
		if now.Before(l.resume) || !w.pace.take(now) {
			continue
		}
		if p := l.holder.take(now); p != nil {
			w.paced = true
			w.do(ctx, l, p)
			return
		}
		w.pace.untake()
	}
}

func (w *worker) do(ctx context.Context, l *lane, p *parcel) {
	w.busy = l
	j := &job{target: &w.target, reader: l.reader, dead: w.dead, metrics: w.metrics, log: w.log, maxAge: w.maxAge, parcel: p}
	go func() { w.results <- result{j, j.run(ctx)} }()
}

// wait is how long nothing will change by time alone.
func (w *worker) wait(now time.Time) time.Duration {
	var at time.Time
	for _, l := range []*lane{&w.alerts, &w.logs} {
		if w.busy == nil {
			at = earlier(at, w.attempt(l, now))
		}
		if wake := l.holder.wake(); !wake.IsZero() && (w.busy == nil || wake.After(now)) {
			at = earlier(at, later(wake, l.chores))
		}
	}
	if at.IsZero() {
		return math.MaxInt64
	}
	return at.Sub(now)
}

// attempt is when a lane can be delivered from; zero when it has nothing.
func (w *worker) attempt(l *lane, now time.Time) time.Time {
	due, ok := l.holder.due(now)
	if !ok {
		return time.Time{}
	}
	return later(later(due, now), later(l.resume, w.pace.next(now)))
}

// finished takes in what became of a job.
func (w *worker) finished(r result) {
	l, now := w.busy, time.Now()
	w.busy = nil
	if w.drain != nil {
		w.drain.active = now
	}
	// What is to be acknowledged only, and what is too old, says nothing of the
	// service.
	chore := r.job.chore
	switch {
	case r.job.called:
		w.pace.sentOne(now, max(r.job.pause, retryAfter(r.err)))
	case w.paced:
		w.pace.untake()
	}
	w.paced = false
	if r.err == nil {
		l.holder.done(r.job.parcel, now)
	} else {
		l.holder.back(r.job.parcel, now)
	}
	switch {
	case chore && r.err != nil && !errors.Is(r.err, errKept):
		l.chores = now.Add(firstBackoff)
		w.log.Warn("dead letters could not be stored, trying again", "error", r.err)
	case chore:
	case r.err != nil:
		w.failed(l, r.err, now)
	default:
		w.recovered(l, r.job.refusal, now)
	}
	w.report()
}

// failed notes a failure and when to try again. Of a long row of failures the log
// gets the first, second, fourth, eighth and so on.
func (w *worker) failed(l *lane, err error, now time.Time) {
	if l.failures == 0 {
		l.failing = now
	}
	l.failures++
	asked := retryAfter(err)
	wait := backoff(l.failures, asked, rand.Float64())
	l.resume = now.Add(wait)
	// Trouble with alerts, and a wait that the service asked for, concern logs too,
	// and that wait alerts.
	if l == &w.alerts || asked > 0 {
		w.alerts.resume = later(w.alerts.resume, l.resume)
		w.logs.resume = later(w.logs.resume, l.resume)
	}
	l.trouble = trouble{reason: err.Error(), since: sinceOr(l.trouble, now), until: l.resume}
	if bits.OnesCount(uint(l.failures)) == 1 {
		w.log.Warn("delivery failed, trying again", "error", err, "attempt", l.failures, "wait", wait.String())
	}
}

// recovered notes that the service answered: it took what it was given, or refused
// it for good, which leaves nothing to be tried again.
func (w *worker) recovered(l *lane, refusal error, now time.Time) {
	if refusal != nil {
		l.trouble = trouble{reason: refusal.Error(), since: sinceOr(l.trouble, now)}
	} else {
		l.trouble = trouble{}
	}
	if l.failures > 0 {
		w.log.Info("delivery works again", "attempts", l.failures, "after", now.Sub(l.failing).Round(time.Millisecond).String())
	}
	l.failures = 0
}

func sinceOr(t trouble, now time.Time) time.Time {
	if t.reason != "" {
		return t.since
	}
	return now
}

// report shows how the output does. The gauge is for what waits to be tried again:
// one event that was refused must not look like an outage until the next.
func (w *worker) report() {
	w.board.set(w.target.Name, status(w.alerts.trouble, w.logs.trouble))
	w.metrics.failing.Set(0)
	if w.alerts.failures+w.logs.failures > 0 {
		w.metrics.failing.Set(1)
	}
}

// digests says whether alike events become one message.
func (t *Target) digests() bool {
	_, can := t.Output.(outputs.Digester)
	return can && t.DigestWindow > 0
}
