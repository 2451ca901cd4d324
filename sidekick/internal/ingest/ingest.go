// Package ingest handles what is posted: it bounds, decodes, checks and enriches
// events, has them stored, and only then answers. It does not store and does not
// deliver, and who may post is not its concern.
package ingest

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/enrich"
	"github.com/sidearmor/sidearmor/sidekick/internal/loglimit"
)

// Bounds of one request.
const (
	MaxBodyBytes = 16 << 20 // as sent, and uncompressed
	MaxEvents    = 10_000
)

// Store takes events for good.
type Store interface {
	// Publish returns nil when all events are stored. With once it does not store
	// an event whose ID it has. If its error has a method Refused() map[int]error,
	// those events alone are not stored; one whose error has a method Permanent()
	// that says true never will be.
	Publish(ctx context.Context, events []schema.Packed, once bool) error
	// Ready says why nothing can be stored now.
	Ready(ctx context.Context) error
}

// Options are what the handler works with.
type Options struct {
	Store    Store
	Enricher *enrich.Enricher // what every event gets; nil for what FalcoSidekick adds without being asked
	Labels   []string         // output fields that are labels of the metric of Falco events
	Outputs  func() any       // what /readyz says of the outputs, as JSON; nil for nothing
	Warnings []string         // what /readyz warns of; it holds for as long as the process runs

	// Pace counts events from the source of a request, or says how long it should
	// wait, and counts nothing. With 0 events it only says the latter. nil is no
	// limit.
	Pace func(r *http.Request, events int) time.Duration
	// Arrived is told when the body of the request with ctx is here; may be nil.
	Arrived func(ctx context.Context)
	// Limited counts a request that a limit refuses: "rate" or "memory"; may be nil.
	Limited func(limit string)

	Metrics *prometheus.Registry
	Log     *slog.Logger
}

type handler struct {
	store    Store
	enricher *enrich.Enricher
	metrics  *metrics
	log      *slog.Logger
	debug    bool // log shows it; asked once, not for every event
	inflate  *inflater

	outputs   func() any // nil when /readyz says nothing of them
	warnings  []string   // of /readyz
	pages     http.Handler
	pace      func(r *http.Request, events int) time.Duration // nil for no limit
	tooFast   loglimit.Counter
	templates loglimit.Counter // that cannot be evaluated
	refusals  refusals
	arrived   func(context.Context)
	limited   func(limit string)
	memory    *budget
}

// New makes the handlers and registers their metrics.
func New(opts Options) *Intake {
	h := &handler{
		store:    opts.Store,
		enricher: opts.Enricher,
		metrics:  newMetrics(opts.Metrics, opts.Labels),
		log:      opts.Log,
		debug:    opts.Log.Enabled(context.Background(), slog.LevelDebug),
		inflate:  newInflater(),
		outputs:  opts.Outputs,
		warnings: opts.Warnings,
		pace:     opts.Pace,
		arrived:  opts.Arrived,
		limited:  opts.Limited,
	}
	if h.limited == nil {
		h.limited = func(string) {}
	}
	h.memory = newBudget(func() { h.limited("memory") })
	h.pages = promhttp.HandlerFor(opts.Metrics, promhttp.HandlerOpts{
		Timeout:       10 * time.Second,
		ErrorHandling: promhttp.ContinueOnError, // what is known must be seen above all when something is wrong
		ErrorLog:      slog.NewLogLogger(opts.Log.Handler(), slog.LevelDebug),
	})
	return &Intake{handler: h}
}
