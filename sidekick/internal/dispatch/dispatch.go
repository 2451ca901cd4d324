// Package dispatch brings stored events to the outputs: one worker for each
// filters, batches, delivers, retries and gives up what is refused for good. It
// neither stores events nor knows how a service is spoken to.
package dispatch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// Reader gives the events of one stream to one output, in order.
type Reader interface {
	// Next waits for the next event and gives it with its size and number.
	Next(ctx context.Context) (event schema.Event, size int, seq uint64, err error)
	// Ack says that events, in whatever order, need not come again.
	Ack(ctx context.Context, seqs ...uint64) error
	// Pending is how many events are not acknowledged.
	Pending(ctx context.Context) (int, error)
}

// DeadLetters keeps events that an output refused for good.
type DeadLetters interface {
	DeadLetter(ctx context.Context, output, reason string, at time.Time, event schema.Event) error
}

// Target is one configured output with what it is to get.
type Target struct {
	Name            string // metric label and log name
	Output          outputs.Output
	Limits          outputs.Limits
	MinimumPriority schema.Priority // events below it are passed over
	Filter          Filter          // what else is passed over; nil for nothing
	Alerts          Reader          // KubeArmor alerts and Falco events
	Logs            Reader          // KubeArmor logs; nil if it gets none
}

// Options are what a Dispatcher works with.
type Options struct {
	Targets     []Target
	DeadLetters DeadLetters
	Metrics     prometheus.Registerer
	Log         *slog.Logger
	StopTimeout time.Duration // how long a delivery under way may take after the stop
}

// Dispatcher runs the workers of all outputs.
type Dispatcher struct {
	opts    Options
	metrics *metrics
}

// New makes a Dispatcher and registers its metrics.
func New(opts Options) *Dispatcher {
	return &Dispatcher{opts: opts, metrics: newMetrics(opts.Metrics, opts.Targets)}
}

// Run delivers until ctx ends. Then each output finishes the delivery that is
// under way, for at most the stop timeout; what is not delivered by then was not
// acknowledged and comes again after the next start.
func (d *Dispatcher) Run(ctx context.Context) {
	finish, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(d.opts.StopTimeout, cancel) })()

	var wg sync.WaitGroup
	for _, t := range d.opts.Targets {
		w := &worker{
			target:  t,
			dead:    d.opts.DeadLetters,
			metrics: d.metrics.of(t.Name),
			log:     d.opts.Log.With("output", t.Name),
		}
		wg.Go(func() { w.run(ctx, finish) })
	}
	wg.Wait()
}
