// Package policyapi is policies over HTTP: for people, who look at them and change
// them, and for tracers, who follow them and say what became of them. What is in
// force is decided in package policies.
package policyapi

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/schema/policystream"
	"github.com/sidearmor/sidearmor/sidekick/internal/api"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// Options are what the handlers work with. All are needed but Keys and Metrics.
type Options struct {
	Hub    *policies.Hub
	Own    *policies.Pushed          // what is sent to these handlers
	Keys   func() []policystream.Key // of the tokens that tracers show; nil where none is asked for
	Open   bool                      // those who change policies are known; nobody may else
	Strict bool                      // what KubeArmor would pass over is an error
	Log    *slog.Logger

	Metrics prometheus.Registerer // nil for none
}

// Handlers are the routes and what they share.
type Handlers struct {
	Options
	instance string
	tracers  *tracers
}

// New makes the handlers.
func New(o Options) *Handlers {
	return &Handlers{Options: o, instance: uuid.NewString(), tracers: newTracers(time.Now, newMetrics(o.Metrics))}
}

// maxStatus bounds what one tracer says of itself.
const maxStatus = 256 << 10

// Routes gives the rows of the table of routes.
func (h *Handlers) Routes() []api.Route {
	return []api.Route{
		{Path: "/policies", Method: http.MethodGet, Class: api.Admin, Handler: h.list},
		{Path: "/policies", Method: http.MethodPut, Class: api.Admin, Handler: h.put},
		{Path: "/policies", Method: http.MethodDelete, Class: api.Admin, Handler: h.deleteAll},
		{Path: policystream.Path, Method: http.MethodGet, Class: api.Post, Stream: true, Handler: h.stream},
		{Path: policystream.StatusPath, Method: http.MethodPost, Class: api.Post, Limits: api.Limits{Body: maxStatus}, Handler: h.status},
		{Path: policystream.ProofPath, Method: http.MethodGet, Class: api.Probe, Handler: h.proof},
		{Path: "/policies/{kind}/{name}", Method: http.MethodGet, Class: api.Admin, Handler: h.get},
		{Path: "/policies/{kind}/{name}", Method: http.MethodPut, Class: api.Admin, Handler: h.put},
		{Path: "/policies/{kind}/{name}", Method: http.MethodDelete, Class: api.Admin, Handler: h.delete},
	}
}

// proof answers who asks whether this sidekick knows the token. It tells nothing of
// the token, to whoever asks.
func (h *Handlers) proof(w http.ResponseWriter, r *http.Request) {
	nonce := r.URL.Query().Get("nonce")
	var keys []policystream.Key
	if h.Keys != nil && nonce != "" { // without a question there is no proof
		keys = h.Keys()
	}
	if err := policystream.CheckNonce(nonce); err != nil && nonce != "" {
		api.Answer(w, http.StatusBadRequest, api.Problem{Error: err.Error()})
		return
	}
	at := ""
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		at = a.String()
	}
	w.Header().Set("Cache-Control", "no-store")
	api.Answer(w, http.StatusOK, policystream.Answers(keys, nonce, at))
}
