// Package dispatch brings stored events to the outputs: one worker for each
// filters, batches or digests, delivers at the rate of the service, retries, and
// gives up what is refused for good or too old. It neither stores events nor knows
// how a service is spoken to.
package dispatch

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/feed"
)

// Reader gives the events of one stream to one output, in order.
type Reader interface {
	// Next waits for the next event and gives it with its size and number.
	Next(ctx context.Context) (event schema.Event, size int, seq uint64, err error)
	// Ack says that events, in whatever order, need not come again.
	Ack(ctx context.Context, seqs ...uint64) error
	// Event gives an event once more that was read and not acknowledged, with its
	// size. The error matches fs.ErrNotExist when the queue does not have it.
	Event(ctx context.Context, seq uint64) (event schema.Event, size int, err error)
	// Pending is how many events are not acknowledged.
	Pending(ctx context.Context) (int, error)
}

// Lagging is a Reader that has the oldest events of an output that does not keep up
// leave its backlog.
type Lagging interface {
	// Behind gives the sequence up to which events are not to be delivered any more,
	// and what is closed when there is another one.
	Behind() (upTo uint64, changed <-chan struct{})
}

// DeadLetters keeps events that an output did not take.
type DeadLetters interface {
	DeadLetter(ctx context.Context, output, reason string, at time.Time, event schema.Event) error
	// Spare is DeadLetter as long as no other one has to give way for it.
	Spare(ctx context.Context, output, reason string, at time.Time, event schema.Event) (kept bool, err error)
}

// DefaultMaxAttempts is how often something is tried that fails while others get
// through.
const DefaultMaxAttempts = 10

// Target is one configured output with what it is to get.
type Target struct {
	Name            string // metric label and log name
	Output          outputs.Output
	More            []outputs.Output // the same once more, for each further request in flight; order is not kept then
	MaxAttempts     int              // for what fails while others get through; 0 is DefaultMaxAttempts
	Limits          outputs.Limits
	DigestWindow    time.Duration   // similar events within it become one message, if the output can that; 0 for never
	MinimumPriority schema.Priority // events below it are passed over
	Filter          Filter          // what else is passed over; nil for nothing
	Alerts          Reader          // KubeArmor alerts and Falco events
	Logs            Reader          // KubeArmor logs; nil if it gets none
}

// Options are what a Dispatcher works with.
type Options struct {
	Targets     []Target
	DeadLetters DeadLetters
	Outcomes    *feed.Log[feed.Outcome] // is told what becomes of events; may be nil
	Metrics     prometheus.Registerer
	Log         *slog.Logger
	// MaxAge is how old an event may become before it goes to the dead letters; 0
	// for no limit.
	MaxAge time.Duration
	// Held is how many bytes of events are stored at most; 0 for many. Few can be read
	// at any pace without taking much memory.
	Held int64
	// StopTimeout is how long deliveries may go on after the stop.
	StopTimeout time.Duration
	// Stopping is when the stop timeout begins, if that is before Run's context
	// ends; nil for never.
	Stopping context.Context
}

// Dispatcher runs the workers of all outputs.
type Dispatcher struct {
	opts    Options
	metrics *metrics
	board   *board
}

// New makes a Dispatcher and registers its metrics.
func New(opts Options) *Dispatcher {
	d := &Dispatcher{opts: opts, metrics: newMetrics(opts.Metrics, opts.Targets), board: &board{statuses: map[string]Status{}}}
	for _, t := range opts.Targets {
		d.board.set(t.Name, status())
	}
	return d
}

// Run delivers until ctx ends. Then each output gets what is in the queue, open
// digests at once, until nothing is left, or nothing can be delivered before the
// stop timeout is over. What was not acknowledged by then comes again after the
// next start.
func (d *Dispatcher) Run(ctx context.Context) {
	stopping := d.opts.Stopping
	if stopping == nil {
		stopping = ctx
	}
	finish, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	begin := sync.OnceValue(func() time.Time {
		time.AfterFunc(d.opts.StopTimeout, cancel)
		return time.Now().Add(d.opts.StopTimeout)
	})
	defer context.AfterFunc(stopping, func() { begin() })()

	var wg sync.WaitGroup
	pacers := pacers(d.opts.Targets)
	groups := new(atomic.Uint64)
	for i, t := range d.opts.Targets {
		w := &worker{
			target:  t,
			dead:    d.opts.DeadLetters,
			report:  reporter{output: t.Name, log: d.opts.Outcomes, groups: groups},
			metrics: d.metrics.of(t.Name),
			log:     d.opts.Log.With("output", t.Name),
			maxAge:  d.opts.MaxAge,
			paced:   d.opts.Held == 0 || d.opts.Held > maxUnpaced,
			board:   d.board,
			pace:    pacers[i],
		}
		wg.Go(func() {
			w.run(ctx, finish, begin)
			w.farewell(context.WithoutCancel(finish))
		})
	}
	wg.Wait()
}
