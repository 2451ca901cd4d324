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
	if w.busy != nil {
		return false
	}
	now := time.Now()
	for _, l := range []*lane{&w.alerts, &w.logs} {
		if l.reader == nil || l.resume.After(w.drain.deadline) || w.pace.next(now).After(w.drain.deadline) {
			continue
		}
		if _, some := l.holder.due(now); some || !l.holder.ready() {
			return false
		}
		if now.Sub(w.drain.active) > drainQuiet {
			continue
		}
		if left(ctx, l.reader) != 0 {
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

// abandon gives the job under way a moment to end. One that does not is left
// behind: the process is about to end, and its events come again.
func (w *worker) abandon() {
	if w.busy == nil {
		return
	}
	select {
	case r := <-w.results:
		w.finished(r)
	case <-time.After(grace):
		w.log.Error("delivery does not end, it is left behind")
	}
}

// farewell says what is left.
func (w *worker) farewell(ctx context.Context) {
	alerts, logs := left(ctx, w.target.Alerts), left(ctx, w.target.Logs)
	w.log.Info("delivery stopped, what is left comes after the next start", "alerts_left", alerts, "logs_left", logs)
}
