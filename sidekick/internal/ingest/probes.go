package ingest

import (
	"io"
	"net/http"

	"github.com/sidearmor/sidearmor/sidekick/internal/api"
)

// problem is the JSON of an answer that is not 200.
type problem struct {
	Error string `json:"error"`
	Item  *int   `json:"item,omitempty"`  // index of the event within the body
	Field string `json:"field,omitempty"` // of the event
	*summary
}

// Ping is FalcoSidekick's.
func Ping(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "pong\n")
}

// Healthz says that the process answers, in FalcoSidekick's words.
func Healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"status": "ok"}`)
}

// readyz says whether events can be stored. With logs alone refused it is still
// 200: to be taken out of service then would cost the alerts. How the outputs do
// does not count: what they do not take is stored.
func (h *handler) readyz(w http.ResponseWriter, r *http.Request) {
	body := map[string]any{}
	if h.outputs != nil {
		body["outputs"] = h.outputs()
	}
	if len(h.warnings) > 0 {
		body["warnings"] = h.warnings
	}
	err := h.store.Ready(r.Context())
	switch {
	case err == nil && len(body) == 0:
		Healthz(w, r)
		return
	case err == nil:
		body["status"] = "ok"
		api.Answer(w, http.StatusOK, body)
		return
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	status, word := http.StatusOK, "degraded"
	reasons := make([]string, 0, len(all))
	for _, e := range all {
		reasons = append(reasons, e.Error())
		if d, ok := e.(interface{ Degraded() bool }); !ok || !d.Degraded() {
			status, word = http.StatusServiceUnavailable, "unavailable"
		}
	}
	body["status"], body["reasons"] = word, reasons
	api.Answer(w, status, body)
}

// page answers with metrics when there is budget: there may be many who ask and do not
// read.
func (h *handler) page(w http.ResponseWriter, r *http.Request) {
	memory := h.memory.reserve(w)
	defer memory.release()
	if err := memory.take(r.Context(), work, metricsBytes); err != nil {
		api.Answer(w, http.StatusServiceUnavailable, problem{Error: err.Error()})
		return
	}
	memory.await(work)
	h.pages.ServeHTTP(w, r)
}
