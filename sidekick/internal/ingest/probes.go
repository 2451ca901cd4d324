package ingest

import (
	"encoding/json"
	"io"
	"net/http"
)

// problem is the JSON of an answer that is not 200.
type problem struct {
	Error string `json:"error"`
	Item  *int   `json:"item,omitempty"`  // index of the event within the body
	Field string `json:"field,omitempty"` // of the event
	*summary
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	// The client has the status; one that has gone misses the rest.
	_ = json.NewEncoder(w).Encode(v)
}

func ping(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "pong\n")
}

// healthz says that the process answers, in FalcoSidekick's words.
func healthz(w http.ResponseWriter, _ *http.Request) {
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
		healthz(w, r)
		return
	case err == nil:
		body["status"] = "ok"
		answer(w, http.StatusOK, body)
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
	answer(w, status, body)
}
