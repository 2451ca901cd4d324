package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/digest"
	"github.com/sidearmor/sidearmor/sidekick/internal/feed"
)

const (
	// defaultTimeout bounds a delivery where the output does not say.
	defaultTimeout = 10 * time.Second

	// ackTimeout is for what was delivered when the time was up: it must still be
	// noted, or it comes again.
	ackTimeout = 2 * time.Second

	// ackAtOnce bounds the sequences of one acknowledgement.
	ackAtOnce = 10_000
)

// Reasons of dead letters, as the metric has them.
const (
	deadRefused = "refused"
	deadExpired = "expired"
	deadPanic   = "panic"
	// deadAttempts: it failed too often, while others got through.
	deadAttempts = "attempts"
	// deadLag: the output has left so much undelivered that the queue was full.
	deadLag = "lag"

	// lostGone: the queue did not have it any more when it was to become a dead letter.
	lostGone = "gone"
)

// job does what there is to do about one parcel, in a goroutine of its own.
type job struct {
	lane    *lane
	output  outputs.Output // nil for what needs no receiver
	target  *Target
	reader  Reader
	dead    DeadLetters
	report  reporter
	metrics *outputMetrics
	log     *slog.Logger
	board   *board
	maxAge  time.Duration

	parcel *parcel // what is left to be done, once the job has ended
	bytes  int     // of it, at the beginning
	from   uint64  // its first sequence, at the beginning
	to     uint64  // its last
	start  time.Time
	cancel context.CancelFunc
	cut    bool // cancelled, because its events have left the backlog
	called bool // the output was
	some   bool // events were taken
	// refusal is why the service refused events for good, pause what it asked for.
	refusal error
	pause   time.Duration
}

// run gives nil when nothing of the parcel is left; an error says why the rest must
// be tried again.
func (j *job) run(ctx context.Context) error {
	p := j.parcel
	if len(p.skipped) > 0 {
		j.ack(ctx, slices.Values(p.skipped))
		p.skipped = nil
	}
	switch {
	case p.count() == 0:
		return nil
	case p.dead != "":
		return j.dispose(ctx)
	}
	return j.deliver(ctx)
}

// deliver calls the output and sorts its events: what it took is acknowledged, what
// it refused for good goes to the dead letters.
func (j *job) deliver(ctx context.Context) error {
	if err := j.illustrate(ctx); err != nil {
		return err
	}
	p, n := j.parcel, j.parcel.count()
	j.called = true
	start := time.Now()
	err := j.call(ctx)
	j.metrics.duration.Observe(time.Since(start).Seconds())
	if pacer, ok := j.output.(outputs.Pacer); ok {
		j.pause = pacer.Pause()
	}
	if err == nil {
		j.took(ctx, p.items)
		p.items = nil
		j.tookAggregate(ctx)
		return nil
	}
	f := classify(err, max(len(p.items), 1))
	if p.aggregate == nil {
		taken, failed := split(p.items, f.events)
		j.took(ctx, taken)
		p.items, n = failed, len(failed)
	}
	j.metrics.failed.Add(float64(n))
	if f.class != outputs.Permanent {
		j.metrics.retries.Inc()
		return f
	}
	j.refusal = f
	j.log.Warn("events were refused for good and go to the dead letters", "events", n, "first", p.firstID(), "error", f.err)
	reason := deadRefused
	var panicked *panicError
	if errors.As(err, &panicked) {
		reason = deadPanic
	}
	return j.bury(ctx, reason, f.Error(), func(*item) bool { return true })
}

// illustrate makes sure that an aggregate has an example: those that it had may have
// gone to the dead letters before these were full.
func (j *job) illustrate(ctx context.Context) error {
	t := j.parcel.aggregate
	if t == nil || len(t.Examples) > 0 {
		return nil
	}
	it, err := j.first(ctx)
	if err != nil {
		return &failure{class: outputs.Transient, err: fmt.Errorf("read an event again: %w", err)}
	}
	t.Examples = []item{*it}
	return nil
}

// split sorts items by the indexes, ascending, of those that failed.
func split(items []item, indexes []int) (taken, failed []item) {
	for i := range items {
		if len(indexes) > 0 && indexes[0] == i {
			indexes = indexes[1:]
			failed = append(failed, items[i])
		} else {
			taken = append(taken, items[i])
		}
	}
	return taken, failed
}

func (p *parcel) firstID() string {
	switch {
	case p.aggregate == nil:
		return p.items[0].Event.ID
	case len(p.aggregate.Examples) > 0:
		return p.aggregate.Examples[0].Event.ID
	}
	return ""
}

// took notes what was delivered.
func (j *job) took(ctx context.Context, items []item) {
	if len(items) == 0 {
		return
	}
	j.some = true
	j.metrics.ok.Add(float64(len(items)))
	j.report.items(feed.Delivered, items, "")
	seqs := make([]uint64, 0, len(items))
	for i := range items {
		j.latency(&items[i].Event)
		seqs = append(seqs, items[i].Seq)
	}
	j.ack(ctx, slices.Values(seqs))
}

func (j *job) tookAggregate(ctx context.Context) {
	t := j.parcel.aggregate
	if t == nil {
		return
	}
	j.metrics.ok.Add(float64(t.Count))
	j.report.aggregate(feed.Delivered, t, "")
	j.latency(&t.Examples[0].Event)
	if t.Count > 1 {
		j.metrics.digests.Inc()
		j.metrics.digested.Add(float64(t.Count))
	}
	j.ack(ctx, t.Seqs.All())
	j.parcel.aggregate = nil
}

func (j *job) latency(e *schema.Event) {
	if !e.Received.IsZero() {
		j.metrics.latency.Observe(max(0, time.Since(e.Received).Seconds()))
	}
}

// ack has the store note what is done. Where it fails, a restart brings the events
// a second time.
func (j *job) ack(ctx context.Context, seqs func(yield func(uint64) bool)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
	defer cancel()
	for chunk := range chunks(seqs, ackAtOnce) {
		if err := j.reader.Ack(ctx, chunk...); err != nil {
			j.log.Warn("position was not stored", "error", err)
		}
	}
}

func chunks(seqs func(yield func(uint64) bool), size int) func(yield func([]uint64) bool) {
	return func(yield func([]uint64) bool) {
		var chunk []uint64
		for seq := range seqs {
			if chunk = append(chunk, seq); len(chunk) == size {
				if !yield(chunk) {
					return
				}
				chunk = nil
			}
		}
		if len(chunk) > 0 {
			yield(chunk)
		}
	}
}

// call is one Deliver. An output that panics over an event would do so again, so
// that counts as refused for good.
func (j *job) call(ctx context.Context) (err error) {
	timeout := j.target.Limits.Timeout
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
			j.log.Error("output panicked", "panic", what, "stack", string(debug.Stack()))
			err = &outputs.Error{Class: outputs.Permanent, Err: &panicError{what}}
		}
	}()
	t := j.parcel.aggregate
	if t != nil && t.Count > 1 {
		return j.output.(outputs.Digester).DeliverDigest(ctx, digestOf(t))
	}
	items := j.parcel.items
	if t != nil {
		items = t.Examples
	}
	events := make([]schema.Event, 0, len(items))
	for i := range items {
		events = append(events, items[i].Event)
	}
	return j.output.Deliver(ctx, events)
}

// digestOf is an aggregate as the outputs know it.
func digestOf(a *digest.Aggregate) *outputs.Digest {
	d := &outputs.Digest{Count: a.Count, First: a.First, Last: a.Last, Resource: a.Resource(), Mixed: a.Mixed}
	for i := range a.Examples {
		d.Examples = append(d.Examples, a.Examples[i].Event)
	}
	return d
}

type panicError struct{ what string }

func (e *panicError) Error() string { return "output panicked: " + e.what }
