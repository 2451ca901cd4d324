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
	w.Header().Set("Connection", "close") // or else the body is read, to get past it
	h.refuse(w, refuse(http.StatusUnauthorized, "unauthorized", "a valid token is required, as Authorization: Bearer TOKEN"))
}

// tally counts what is logged now and then.
type tally struct {
	mu     sync.Mutex
	count  int
	logged time.Time
}

// note counts one more, and gives the number of those to be logged now, else 0.
func (t *tally) note(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	if now.Sub(t.logged) < refusalsEvery {
		return 0
	}
	n := t.count
	t.count, t.logged = 0, now
	return n
}
