package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
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
)

// job does what there is to do about one parcel, in a goroutine of its own.
type job struct {
	target  *Target
	reader  Reader
	dead    DeadLetters
	metrics *outputMetrics
	log     *slog.Logger
	maxAge  time.Duration

	parcel *parcel // what is left to be done, once the job has ended
	chore  bool    // it needs no receiver
	called bool    // the output was
	// refusal is why the service refused events for good, pause what it asked for.
	refusal error
	pause   time.Duration
}

// run gives nil when nothing of the parcel is left; an error says why the rest must
// be tried again.
func (j *job) run(ctx context.Context) error {
	p := j.parcel
	if len(p.skipped) > 0 {
		skipped := p.skipped
		p.skipped = nil
		defer j.ack(ctx, slices.Values(skipped))
	}
	switch {
	case p.count() == 0:
		j.chore = true
		return nil
	case p.expired:
		j.chore = true
		return j.expire(ctx)
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
	if pacer, ok := j.target.Output.(outputs.Pacer); ok {
		j.pause = pacer.Pause()
	}
	if err == nil {
		j.took(ctx, p.items)
		p.items = nil
		j.tookTally(ctx)
		return nil
	}
	f := classify(err, max(len(p.items), 1))
	if p.tally == nil {
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

// illustrate makes sure that a tally has an example: those that it had may have
// gone to the dead letters before these were full.
func (j *job) illustrate(ctx context.Context) error {
	t := j.parcel.tally
	if t == nil || len(t.examples) > 0 {
		return nil
	}
	it, err := j.first(ctx)
	if err != nil {
		return &failure{class: outputs.Transient, err: fmt.Errorf("read an event again: %w", err)}
	}
	t.examples = []item{*it}
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
	case p.tally == nil:
		return p.items[0].event.ID
	case len(p.tally.examples) > 0:
		return p.tally.examples[0].event.ID
	}
	return ""
}

// took notes what was delivered.
func (j *job) took(ctx context.Context, items []item) {
	if len(items) == 0 {
		return
	}
	j.metrics.ok.Add(float64(len(items)))
	seqs := make([]uint64, 0, len(items))
	for i := range items {
		j.latency(&items[i].event)
		seqs = append(seqs, items[i].seq)
	}
	j.ack(ctx, slices.Values(seqs))
}

func (j *job) tookTally(ctx context.Context) {
	t := j.parcel.tally
	if t == nil {
		return
	}
	j.metrics.ok.Add(float64(t.count))
	j.latency(&t.examples[0].event)
	if t.count > 1 {
		j.metrics.digests.Inc()
		j.metrics.digested.Add(float64(t.count))
	}
	j.ack(ctx, t.seqs.all())
	j.parcel.tally = nil
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

// expire brings what is too old to the dead letters.
func (j *job) expire(ctx context.Context) error {
	now := time.Now()
	j.log.Warn("events are too old to be delivered and go to the dead letters", "max_age", j.maxAge.String(), "first", j.parcel.firstID())
	return j.bury(ctx, deadExpired, "expired", func(it *item) bool { return isPast(it.expires, now) })
}

// bury puts events into the dead letters, from the first to the first that is not
// meant. What is left stays in the parcel, after an error too: nothing that was
// accepted is dropped unseen.
func (j *job) bury(ctx context.Context, reason, text string, meant func(*item) bool) error {
	var done []uint64
	defer func() { j.ack(ctx, slices.Values(done)) }()
	for j.parcel.count() > 0 {
		it, err := j.first(ctx)
		gone := errors.Is(err, fs.ErrNotExist)
		switch {
		case gone:
			j.log.Error("event was dropped: the queue does not have it any more", "error", err)
		case err != nil:
			return &failure{class: outputs.Transient, err: err}
		case !meant(it):
			return j.keepFirst(it)
		default:
			if err := j.dead.DeadLetter(ctx, j.target.Name, text, time.Now(), it.event); err != nil {
				return &failure{class: outputs.Transient, err: err}
			}
			j.metrics.dead.WithLabelValues(j.target.Name, reason).Inc()
		}
		done = append(done, j.dropFirst())
		if len(done) == ackAtOnce {
			j.ack(ctx, slices.Values(done))
			done = done[:0]
		}
	}
	j.parcel.tally = nil
	return nil
}

// first gives the first event of the parcel, from the queue if need be.
func (j *job) first(ctx context.Context) (*item, error) {
	p := j.parcel
	if p.tally == nil {
		return &p.items[0], nil
	}
	seq := p.tally.seqs[0].from
	if i := slices.IndexFunc(p.tally.examples, func(it item) bool { return it.seq == seq }); i >= 0 {
		return &p.tally.examples[i], nil
	}
	e, size, err := j.reader.Event(ctx, seq)
	if err != nil {
		return nil, err
	}
	return &item{event: e, size: size, seq: seq, expires: expiry(&e, time.Now(), j.maxAge)}, nil
}

func (j *job) dropFirst() (seq uint64) {
	if t := j.parcel.tally; t != nil {
		seq = t.seqs[0].from
		t.dropFirst()
		return seq
	}
	seq = j.parcel.items[0].seq
	j.parcel.items = j.parcel.items[1:]
	return seq
}

// errKept says that the rest of a parcel is not too old.
var errKept = errors.New("the rest is not too old")

// keepFirst has a tally begin with the first event that is left of it.
func (j *job) keepFirst(it *item) error {
	if t := j.parcel.tally; t != nil {
		t.first, t.expires = it.event.Time(), it.expires
		if len(t.examples) == 0 {
			t.examples = []item{*it}
		}
	}
	return errKept
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
	t := j.parcel.tally
	if t != nil && t.count > 1 {
		return j.target.Output.(outputs.Digester).DeliverDigest(ctx, t.digest())
	}
	items := j.parcel.items
	if t != nil {
		items = t.examples
	}
	events := make([]schema.Event, 0, len(items))
	for i := range items {
		events = append(events, items[i].event)
	}
	return j.target.Output.Deliver(ctx, events)
}

type panicError struct{ what string }

func (e *panicError) Error() string { return "output panicked: " + e.what }
