// Package api makes HTTP handlers of one table of routes. Who is let in, what is
// served without TLS, and the limits of a request follow from the class of its
// route. The package does not know what the routes do.
package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/sidekick/internal/loglimit"
)

// Class says what a route is for, and so who may use it. The zero value is the class
// that fewest may use.
type Class int

// The classes.
const (
	Admin Class = iota // changes what the sidekick or tracers do; may show all that it changes
	Read               // shows events or settings, and changes nothing
	Post               // for those who send events: takes these, and gives what senders need
	Probe              // for health checks and Prometheus: open to all, and without TLS where that is asked for
	classes
)

// String gives the name by which documents, logs and metrics know the class.
func (c Class) String() string {
	names := [classes]string{"admin", "read", "post", "probe"}
	if c < 0 || c >= classes {
		return fmt.Sprintf("Class(%d)", int(c))
	}
	return names[c]
}

// Limits bound one request. A zero field is what the class has.
type Limits struct {
	Body  int64         // bytes of the body, as it is sent
	Read  time.Duration // for sending the request
	Write time.Duration // for handling and answer, from the end of the headers on; of a stream, for each write
}

// The limits of a server, which hold where a route has no others.
const (
	headerTime = 10 * time.Second
	readTime   = 30 * time.Second
	writeTime  = 60 * time.Second
	idleTime   = 2 * time.Minute
	headerSize = 16 << 10
)

func (c Class) limits() Limits {
	l := Limits{Body: 64 << 10, Read: readTime, Write: writeTime}
	switch c {
	case Post:
		l.Body = 16 << 20
	case Admin:
		l.Body = 4 << 20
	default:
	}
	return l
}

// Route is one row of the table.
type Route struct {
	Path    string // as gorilla/mux takes it: /policies/{kind}/{name}
	Method  string // "" for every method, of probes alone; GET is HEAD as well, but of a stream
	Class   Class
	Limits  Limits
	Stream  bool // the answer is long or has no end: see SendEvents
	Handler http.HandlerFunc
}

// Options are what the handlers work with.
type Options struct {
	Routes  []Route
	Tokens  Tokens
	Streams int // at a time; those beyond are answered with 503

	// Arrived is told that the request with ctx is here as a whole, so that its
	// connection is not closed for another; may be nil.
	Arrived func(ctx context.Context)
	// Lost is told of a request that may have held events, and reaches no handler:
	// "unauthorized", "path" or "method", and what was wrong; may be nil.
	Lost func(r *http.Request, reason, why string)

	Metrics prometheus.Registerer
	Log     *slog.Logger
}

// API is the table, and what its routes share.
type API struct {
	Options
	streams  streams
	refused  *prometheus.CounterVec
	panics   prometheus.Counter
	refusals [classes]loglimit.Counter
}

// New checks the table and registers metrics.
func New(opts Options) (*API, error) {
	if err := check(opts.Routes); err != nil {
		return nil, err
	}
	if opts.Arrived == nil {
		opts.Arrived = func(context.Context) {}
	}
	if opts.Lost == nil {
		opts.Lost = func(*http.Request, string, string) {}
	}
	a := &API{Options: opts}
	a.streams.init(opts.Streams)
	a.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sidearmor_unauthorized_requests_total", Help: "Requests refused for want of a token with the scope that their route asks for.",
	}, []string{"class"})
	a.panics = prometheus.NewCounter(prometheus.CounterOpts{Name: "sidearmor_panics_total", Help: "Requests whose handling panicked."})
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sidearmor_streams", Help: "Streams that clients have open over HTTP."}, a.streams.open)
	opts.Metrics.MustRegister(a.refused, a.panics, open)
	for _, c := range []Class{Admin, Read, Post} {
		a.refused.WithLabelValues(c.String())
	}
	return a, nil
}

// check finds rows that cannot be meant.
func check(routes []Route) error {
	seen := map[string]bool{}
	for i := range routes {
		r := &routes[i]
		safe := r.Method == http.MethodGet
		name, why := strings.TrimSpace(r.Method+" "+r.Path), ""
		switch {
		case !strings.HasPrefix(r.Path, "/"):
			why = "the path does not begin with /"
		case r.Class < 0 || r.Class >= classes:
			why = "there is no such class"
		case r.Handler == nil:
			why = "it has no handler"
		case seen[name]:
			why = "it is there twice"
		case r.Class == Probe && r.Method != "" && !safe, r.Class == Read && !safe:
			why = "a route of the class " + r.Class.String() + " changes nothing, so its method is GET"
		case r.Class != Probe && r.Method == "":
			why = "it has no method"
		case r.Stream && !safe:
			why = "a stream is for GET"
		}
		if why != "" {
			return fmt.Errorf("route %s: %s", name, why)
		}
		seen[name] = true
	}
	return nil
}

// ProbePaths gives the paths that may be served without TLS.
func ProbePaths(routes []Route) []string {
	var paths []string
	for i := range routes {
		if r := &routes[i]; r.Class == Probe && !slices.Contains(paths, r.Path) {
			paths = append(paths, r.Path)
		}
	}
	return paths
}

// Handler serves the table to those who come in by d.
func (a *API) Handler(d Door) http.Handler {
	router := mux.NewRouter().SkipClean(true) // which would redirect, and few who post follow
	paths := mux.NewRouter().SkipClean(true)  // whatever the method is
	for i := range a.Routes {
		r := &a.Routes[i]
		if !d.serves(r) {
			continue
		}
		paths.Path(r.Path)
		route := router.Handle(r.Path, a.handler(r, d))
		if methods := r.methods(); methods != nil {
			route.Methods(methods...)
		}
	}
	router.NotFoundHandler = http.HandlerFunc(a.wrongPath)
	router.MethodNotAllowedHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.wrongMethod(w, r, paths) })
	return a.recovering(router)
}

// methods gives those that a row answers; nil for all.
func (r *Route) methods() []string {
	switch {
	case r.Method == "":
		return nil
	case r.Method == http.MethodGet && !r.Stream:
		return []string{http.MethodGet, http.MethodHead}
	}
	return []string{r.Method}
}

// handler is one route behind what its class asks for.
func (a *API) handler(route *Route, d Door) http.Handler {
	l := route.Class.limits()
	if route.Limits.Body > 0 {
		l.Body = route.Limits.Body
	}
	if route.Limits.Read > 0 {
		l.Read = route.Limits.Read
	}
	if route.Limits.Write > 0 {
		l.Write = route.Limits.Write
	}
	next := route.Handler
	if route.Stream {
		next = a.streaming(next, l.Write)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.admit(w, r, route.Class, d) {
			return
		}
		now, client := time.Now(), http.NewResponseController(w)
		// Errors are of servers that cannot: the limits of the server hold.
		if l.Read != readTime {
			_ = client.SetReadDeadline(now.Add(l.Read))
		}
		if l.Write != writeTime {
			_ = client.SetWriteDeadline(now.Add(l.Write))
		}
		r.Body = http.MaxBytesReader(w, r.Body, l.Body)
		next(w, r)
	})
}

// Server gives h with bounds on time and headers: a client that sends or reads
// slowly, or not at all, is cut off. When it shuts down, it ends streams.
func (a *API) Server(h http.Handler) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       readTime,
		WriteTimeout:      writeTime, // from the end of the headers: reading and storing are within it
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerSize,
		ErrorLog:          slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug),
	}
	s.RegisterOnShutdown(a.streams.end)
	return s
}
