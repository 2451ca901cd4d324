package ingest

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sidearmor/sidearmor/sidekick/internal/loglimit"
)

// reasons are those for which events are not taken, as the metric has them.
func reasons() []string {
	return []string{
		"malformed", "too_large", "unavailable", "encoding", "timeout", "busy", "rate", "unauthorized",
		"path", "method",
	}
}

// refusals has the log tell of events that are not taken. Falco ignores answers, so
// without a line nobody would ever hear of them. For each reason there is one line a
// minute: it must not be those who post that fill the log.
type refusals struct {
	mu       sync.Mutex
	byReason map[string]*loglimit.Counter
}

// note counts n events or requests, and gives the number to be logged now, else 0.
func (f *refusals) note(reason string, n int, now time.Time) int {
	if reason == "unauthorized" || reason == "rate" {
		return 0 // these have lines of their own
	}
	f.mu.Lock()
	t := f.byReason[reason]
	if t == nil {
		if f.byReason == nil {
			f.byReason = map[string]*loglimit.Counter{}
		}
		t = &loglimit.Counter{}
		f.byReason[reason] = t
	}
	f.mu.Unlock()
	return t.Add(n, now)
}

// tell counts n refused events of one reason, and logs what is to be logged.
func (h *handler) tell(r *http.Request, reason, why string, n int) {
	h.metrics.rejected.WithLabelValues(reason).Add(float64(n))
	if n = h.refusals.note(reason, n, time.Now()); n > 0 {
		h.log.Warn("events are refused", "reason", reason, "refused", n, "last_error", brief(why), "last_from", r.RemoteAddr)
	}
}

// tellVerdicts tells of the events of a request that were refused, and gives their
// number.
func (h *handler) tellVerdicts(r *http.Request, verdicts []verdict) int {
	type refused struct {
		n   int
		why string // of the first
	}
	var all map[string]refused
	total := 0
	for i := range verdicts {
		v := &verdicts[i]
		if v.Status == "accepted" {
			continue
		}
		if all == nil {
			all = map[string]refused{}
		}
		of := all[v.reason]
		if of.n++; of.n == 1 {
			of.why = v.Error
		}
		all[v.reason] = of
		total++
	}
	for reason, of := range all {
		h.tell(r, reason, of.why, of.n)
	}
	return total
}

// brief keeps what others chose from filling a line of the log.
func brief(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
