package ingest

import (
	"net/http"
	"time"
)

// paced refuses what the source of r sends beyond its limit. With 0 events it only
// asks whether the source may send at all, before its body is read.
func (h *handler) paced(r *http.Request, events int) *refusal {
	if h.pace == nil {
		return nil
	}
	wait := h.pace(r, events)
	if wait == 0 {
		return nil
	}
	h.limited("rate")
	if n := h.tooFast.Add(1, time.Now()); n > 0 {
		h.log.Warn("requests beyond RATE_LIMIT are refused", "requests", n, "last_from", r.RemoteAddr)
	}
	refused := refuse(http.StatusTooManyRequests, "rate", "more events than RATE_LIMIT allows one source")
	refused.after = max(wait, time.Second)
	return refused
}
