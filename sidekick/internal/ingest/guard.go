package ingest

import (
	"net/http"
	"sync"
	"time"
)

// refusalsEvery spaces what the log says about refused posters: it must not be
// they who fill it.
const refusalsEvery = time.Minute

// guarded lets those post who may. It reads nothing of the body before.
func (h *handler) guarded(next http.HandlerFunc) http.HandlerFunc {
	if h.authorized == nil {
		return next
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if !h.authorized(r) {
			h.unauthorized(w, r)
			return
		}
		next(w, r)
	}
}

// unauthorized says the same whatever is wrong with the token.
func (h *handler) unauthorized(w http.ResponseWriter, r *http.Request) {
	if n := h.strangers.note(time.Now()); n > 0 {
		h.log.Warn("requests without a valid token are refused", "requests", n, "last_from", r.RemoteAddr)
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="sidearmor"`)
	w.Header().Add("WWW-Authenticate", `Basic realm="sidearmor"`)
	w.Header().Set("Connection", "close") // or else the body is read, to get past it
	h.refuse(w, r, refuse(http.StatusUnauthorized, "unauthorized", "a valid token is required, as Authorization: Bearer TOKEN, or as the password in the address"))
}

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
	if n := h.loud.note(time.Now()); n > 0 {
		h.log.Warn("requests beyond RATE_LIMIT are refused", "requests", n, "last_from", r.RemoteAddr)
	}
	refused := refuse(http.StatusTooManyRequests, "rate", "more events than RATE_LIMIT allows one source")
	refused.after = max(wait, time.Second)
	return refused
}

// tally counts what is logged now and then.
type tally struct {
	mu     sync.Mutex
	count  int
	logged time.Time
}

// note counts one more, and gives the number of those to be logged now, else 0.
func (t *tally) note(now time.Time) int { return t.add(1, now) }

// add is note for n.
func (t *tally) add(n int, now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count += n
	if now.Sub(t.logged) < refusalsEvery {
		return 0
	}
	n = t.count
	t.count, t.logged = 0, now
	return n
}
