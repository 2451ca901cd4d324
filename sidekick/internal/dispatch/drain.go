package dispatch

import (
	"context"
	"time"
)

const (
	// drainPoll is how often a worker that has nothing to do asks whether the queue
	// has more.
	drainPoll = 50 * time.Millisecond

	// drainQuiet is how long it waits for what the queue says it has.
	drainQuiet = 2 * time.Second

	// countTimeout bounds that question.
	countTimeout = time.Second
)

// drain is the end of a worker.
type drain struct {
	deadline time.Time
	active   time.Time // when something came or was done
}

// drained says whether nothing can be done before the deadline.
func (w *worker) drained(ctx context.Context) bool {
	if len(w.inFlight) > 0 {
		return false
	}
	now := time.Now()
	for _, l := range w.lanes() {
		if l.reader == nil || latest(l.resume, l.pause).After(w.drain.deadline) || w.pace.next(now).After(w.drain.deadline) {
			continue
		}
		if at, some := l.ready(now); some && !at.After(w.drain.deadline) || !l.holder.ready() {
			return false
		}
		if now.Sub(w.drain.active) > drainQuiet {
			continue
		}
		if n := left(ctx, l.reader); n < 0 || n > l.aside.count() {
			return false
		}
	}
	return true
}

// left is how many events are not acknowledged; -1 when nobody knows.
func left(ctx context.Context, r Reader) int {
	if r == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	n, err := r.Pending(ctx)
	if err != nil {
		return -1
	}
	return n
}

// farewell says what is left.
func (w *worker) farewell(ctx context.Context) {
	alerts, logs := left(ctx, w.target.Alerts), left(ctx, w.target.Logs)
	w.log.Info("delivery stopped, what is left comes after the next start", "alerts_left", alerts, "logs_left", logs)
}
