package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// defaultTimeout bounds a delivery where the output does not say.
const defaultTimeout = 10 * time.Second

// worker delivers to one output, one batch at a time, alerts before logs.
type worker struct {
	target  Target
	dead    DeadLetters
	metrics *outputMetrics
	log     *slog.Logger

	alerts, logs lane
}

// lane is one of the two streams of an output.
type lane struct {
	reader   Reader
	batches  chan *batch // nil when the output does not get the stream
	current  *batch      // taken and not done
	failures int         // attempts that failed in a row
	failing  time.Time   // since when
	resume   time.Time   // no attempt before
}

// run works until ctx ends; what is under way then may go on until finish ends.
func (w *worker) run(ctx, finish context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	g := &gate{target: &w.target, heldBack: w.metrics.filtered, undecided: w.metrics.undecided, log: w.log}
	feed := func(l *lane, r Reader) {
		if r == nil {
			return
		}
		f := &feeder{target: &w.target, reader: r, out: make(chan *batch), log: w.log, gate: g}
		l.reader, l.batches = r, f.out
		wg.Go(func() { f.run(ctx) })
	}
	feed(&w.alerts, w.target.Alerts)
	feed(&w.logs, w.target.Logs)
	for {
		l := w.next(ctx)
		if l == nil {
			return
		}
		if w.attempt(finish, l) {
			l.current = nil
		}
	}
}

// next waits until a lane has a batch that may be delivered. Logs that cannot be
// delivered do not hold up alerts: only their own lane waits. It is nil when it is
// time to stop.
func (w *worker) next(ctx context.Context) *lane {
	for ctx.Err() == nil {
		w.alerts.poll()
		now := time.Now()
		wait := time.Duration(math.MaxInt64)
		for _, l := range []*lane{&w.alerts, &w.logs} {
			if l.current == nil {
				continue
			}
			if !now.Before(l.resume) {
				return l
			}
			wait = min(wait, l.resume.Sub(now))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case w.alerts.current = <-w.alerts.more():
		case w.logs.current = <-w.logs.more():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// more is where the next batch comes from while there is none.
func (l *lane) more() chan *batch {
	if l.current != nil {
		return nil
	}
	return l.batches
}

// poll takes a batch that is there without waiting for one.
func (l *lane) poll() {
	select {
	case l.current = <-l.more():
	default:
	}
}

// attempt delivers a lane's batch once. It is done when no event of it is left to
// be tried again; otherwise the batch holds those that are.
func (w *worker) attempt(ctx context.Context, l *lane) (done bool) {
	b := l.current
	if len(b.events) > 0 {
		if err := w.deliver(ctx, b); err != nil {
			w.failed(ctx, l, err)
			return false
		}
		w.recovered(l)
	}
	if err := l.reader.Ack(ctx, b.seqs...); err != nil {
		// The position of the next batch covers this one; until then a restart
		// would deliver it a second time.
		w.log.Warn("position was not stored", "error", err)
	}
	return true
}

// deliver calls the output and sorts its events: what it took is removed from the
// batch, what it refused for good goes to the dead letters. An error is why the
// rest must be tried again.
func (w *worker) deliver(ctx context.Context, b *batch) error {
	start := time.Now()
	err := w.call(ctx, b.events)
	w.metrics.duration.Observe(time.Since(start).Seconds())
	if err == nil {
		w.metrics.ok.Add(float64(len(b.events)))
		return nil
	}
	f := classify(err, len(b.events))
	left := make([]schema.Event, 0, len(f.events))
	for _, i := range f.events {
		left = append(left, b.events[i])
	}
	w.metrics.ok.Add(float64(len(b.events) - len(left)))
	w.metrics.failed.Add(float64(len(left)))
	b.events = left
	if f.class != outputs.Permanent {
		w.metrics.retries.Inc()
		return f
	}
	return w.bury(ctx, b, f)
}

// bury puts the events of a batch into the dead letters. If that fails they stay
// in the batch: nothing that was accepted is dropped unseen.
func (w *worker) bury(ctx context.Context, b *batch, f *failure) error {
	w.log.Warn("events were refused for good and go to the dead letters",
		"events", len(b.events), "first", b.events[0].ID, "error", f.err)
	for len(b.events) > 0 {
		if err := w.dead.DeadLetter(ctx, w.target.Name, f.Error(), time.Now(), b.events[0]); err != nil {
			return &failure{class: outputs.Transient, err: err}
		}
		w.metrics.dead.Inc()
		b.events = b.events[1:]
	}
	return nil
}

// call is one Deliver. An output that panics over an event would do so again, so
// that counts as refused for good.
func (w *worker) call(ctx context.Context, events []schema.Event) (err error) {
	timeout := w.target.Limits.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			// The value may hold anything, a secret too; its type and the stack do not.
			what := fmt.Sprintf("%T", p)
			if e, ok := p.(runtime.Error); ok {
				what = e.Error()
			}
			w.log.Error("output panicked", "panic", what, "stack", string(debug.Stack()))
			err = &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("output panicked: %s", what)}
		}
	}()
	return w.target.Output.Deliver(ctx, events)
}

// failed notes a failure and when to try again. Of a long row of failures the log
// gets the first, second, fourth, eighth and so on.
func (w *worker) failed(ctx context.Context, l *lane, err error) {
	if l.failures == 0 {
		l.failing = time.Now()
	}
	l.failures++
	asked := retryAfter(err)
	wait := backoff(l.failures, asked, rand.Float64())
	l.resume = time.Now().Add(wait)
	// Trouble with alerts, and a wait that the service asked for, concern logs too,
	// and that wait alerts.
	if l == &w.alerts || asked > 0 {
		w.alerts.resume = later(w.alerts.resume, l.resume)
		w.logs.resume = later(w.logs.resume, l.resume)
	}
	if ctx.Err() == nil && bits.OnesCount(uint(l.failures)) == 1 {
		w.log.Warn("delivery failed, trying again", "error", err, "attempt", l.failures, "wait", wait.String())
	}
}

func (w *worker) recovered(l *lane) {
	if l.failures > 0 {
		w.log.Info("delivery works again", "attempts", l.failures, "after", time.Since(l.failing).Round(time.Millisecond).String())
	}
	l.failures = 0
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
