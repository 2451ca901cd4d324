// Package ingest is the sidekick's HTTP side: it bounds, decodes, checks and
// enriches what is posted, has it stored, and only then answers. It does not
// store and does not deliver.
package ingest

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/enrich"
)

// Bounds of one request.
const (
	MaxBodyBytes = 16 << 20 // uncompressed
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
	Store      Store
	Enricher   *enrich.Enricher         // what every event gets; nil for what FalcoSidekick adds without being asked
	Labels     []string                 // output fields that are labels of the metric of Falco events
	Authorized func(*http.Request) bool // whether it may post; nil when everybody may
	Outputs    func() any               // what /readyz says of the outputs, as JSON; nil for nothing
	Warnings   []string                 // what /readyz warns of; it holds for as long as the process runs

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

	outputs    func() any               // nil when /readyz says nothing of them
	warnings   []string                 // of /readyz
	authorized func(*http.Request) bool // nil when everybody may post
	strangers  tally
	pace       func(r *http.Request, events int) time.Duration // nil for no limit
	loud       tally
	templates  tally // that cannot be evaluated
	refusals   refusals
	arrived    func(context.Context)
	limited    func(limit string)
	room       *room
}

// New makes the handler of all paths and registers its metrics. Other than
// FalcoSidekick, which takes events on every path and answers a wrong method with
// 400, it takes them on / alone, and answers 404 and 405.
func New(opts Options) *Intake {
	h := &handler{
		store:      opts.Store,
		enricher:   opts.Enricher,
		metrics:    newMetrics(opts.Metrics, opts.Labels),
		log:        opts.Log,
		debug:      opts.Log.Enabled(context.Background(), slog.LevelDebug),
		inflate:    newInflater(),
		outputs:    opts.Outputs,
		warnings:   opts.Warnings,
		authorized: opts.Authorized,
		pace:       opts.Pace,
		arrived:    opts.Arrived,
		limited:    opts.Limited,
	}
	if h.limited == nil {
		h.limited = func(string) {}
	}
	h.room = newRoom(func() { h.limited("memory") })
	r := mux.NewRouter().SkipClean(true) // which would redirect, and few who post follow
	r.HandleFunc("/", h.guarded(h.events)).Methods(http.MethodPost)
	r.HandleFunc("/test", h.guarded(h.test)).Methods(http.MethodPost)
	r.HandleFunc("/ping", ping)
	r.HandleFunc("/healthz", healthz)
	r.HandleFunc("/readyz", h.readyz)
	r.Handle("/metrics", h.roomy(promhttp.HandlerFor(opts.Metrics, promhttp.HandlerOpts{
		Timeout:       10 * time.Second,
		ErrorHandling: promhttp.ContinueOnError, // what is known must be seen above all when something is wrong
		ErrorLog:      slog.NewLogLogger(opts.Log.Handler(), slog.LevelDebug),
	})))
	r.MethodNotAllowedHandler = http.HandlerFunc(h.wrongMethod)
	r.NotFoundHandler = http.HandlerFunc(h.wrongPath)
	return &Intake{Handler: h.recovering(r), handler: h}
}

// Server gives h with bounds on time and headers: a client that sends or reads
// slowly, or not at all, is cut off.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second, // from the end of the headers: reading and storing are within it
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// roomy has a page of metrics wait for room: there may be many who ask and do not
// read.
func (h *handler) roomy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		room := h.room.hold(w)
		defer room.release()
		if err := room.take(r.Context(), work, metricsBytes); err != nil {
			answer(w, http.StatusServiceUnavailable, problem{Error: err.Error()})
			return
		}
		room.await(work)
		next.ServeHTTP(w, r)
	})
}

// recovering answers 500 for a request whose handling panics.
func (h *handler) recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			what := "panic" // any other value may show what was posted
			if e, ok := p.(runtime.Error); ok {
				what = e.Error()
			}
			h.metrics.panics.Inc()
			h.log.Error("request handling panicked", "path", r.URL.Path, "panic", what, "stack", string(debug.Stack()))
			answer(w, http.StatusInternalServerError, problem{Error: "internal error"})
		}()
		next.ServeHTTP(w, r)
	})
}
