package dispatch

import (
	"math/rand/v2"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/sidekick/internal/feed"
)

// missed notes that a request failed and may be made again, and when.
func (w *worker) missed(l *lane, j *job, f *failure, now time.Time) {
	p := j.parcel
	w.report.parcel(feed.Failed, p, f.Error())
	about := f.class != outputs.RateLimited // the events, perhaps
	if about && p.history().Failed(now, f) {
		l.quiet = time.Time{} // the service may be back, and something else be wrong
	}
	w.pauseFor(f.retryAfter, now)
	if j.some {
		l.taken = now
	}
	switch {
	case p.aside:
		l.aside.back(p, now, now.Sub(j.start), rand.Float64())
		if w.drain != nil {
			p.due = w.drain.deadline.Add(maxBackoff) // that was its last attempt
		}
		return
	case p.probe:
		l.holder.back(p, now)
		l.refuted(now, w.ordered())
		return
	case about && (p.history().Count > 1 && l.overtaken || !w.ordered() && l.taken.After(j.start)):
		l.overtaken = false
		w.setAside(l, p, now)
		return
	}
	l.holder.back(p, now)
	if l.failures > 0 && j.start.Before(l.failed) {
		return // of the same moment as another one
	}
	wait := l.missed(p, f, now, w.ordered())
	l.resume = now.Add(wait)
	// Trouble with alerts concerns logs too, unless one event may be at fault; a wait
	// that the service asked for concerns both.
	if l == &w.alerts && !l.suspicious {
		w.logs.resume = latest(w.logs.resume, l.resume)
	}
	l.trouble = trouble{reason: f.Error(), since: sinceOr(l.trouble, now), until: latest(l.resume, l.pause)}
	if l.loud(now) {
		w.log.Warn("delivery failed, trying again", "error", f, "attempt", l.failures, "wait", wait.String())
	}
}

// pauseFor has nothing sent for as long as the service asked for.
func (w *worker) pauseFor(asked time.Duration, now time.Time) {
	if asked <= 0 {
		return
	}
	until := now.Add(backoff(1, asked, rand.Float64()))
	for _, l := range w.lanes() {
		l.pause = latest(l.pause, until)
	}
}

// recovered notes that the service answered: it took what it was given, or refused
// it for good, which leaves nothing to be tried again. What failed before, while
// others get through, is then at fault itself: at once where requests overlap, else
// when it fails once more, since an outage may have ended in between.
func (w *worker) recovered(l *lane, j *job, now time.Time) {
	if j.refusal != nil {
		l.trouble = trouble{reason: j.refusal.Error(), since: sinceOr(l.trouble, now)}
	} else {
		l.trouble = trouble{}
	}
	for _, other := range w.lanes() {
		if other != l && other.suspicious {
			w.worksAgain(other, now)
			other.trouble, other.overtaken = trouble{}, true
		}
	}
	if !w.ordered() {
		since := j.start // before, it may have been an outage
		if j.parcel.probe {
			since = time.Time{}
		}
		for _, p := range l.holder.suspects(since) {
			w.setAside(l, p, now)
		}
	}
	l.took = now.Sub(j.start)
	w.worksAgain(l, now)
	l.overtaken = j.parcel.probe && w.ordered()
}

func (w *worker) worksAgain(l *lane, now time.Time) {
	if l.failures > 0 {
		w.log.Info("delivery works again", "attempts", l.failures, "after", now.Sub(l.failing).Round(time.Millisecond).String())
	}
	l.works(now, limits(&w.target).BatchEvents)
}

func (w *worker) setAside(l *lane, p *parcel, now time.Time) {
	l.wary = now
	w.log.Warn("events fail while others get through, they are tried apart from them", "events", p.count(), "first", p.firstID(), "error", p.history().Reason)
	l.setAside(p, now)
}

// remind says again that an output does not work.
func (w *worker) remind(l *lane, now time.Time) {
	if l.failures == 0 || now.Sub(l.said) < remindAfter {
		return
	}
	l.said = now
	w.log.Warn("delivery still fails, events wait", "error", l.trouble.reason, "attempts", l.failures,
		"since", l.failing.UTC().Format(time.RFC3339))
}

func sinceOr(t trouble, now time.Time) time.Time {
	if t.reason != "" {
		return t.since
	}
	return now
}

// showStatus shows how the output does. The gauge is for what waits to be tried again:
// one event that was refused must not look like an outage until the next.
func (w *worker) showStatus() {
	w.board.set(w.target.Name, status(w.alerts.trouble, w.logs.trouble))
	w.metrics.failing.Set(0)
	if w.alerts.failures+w.logs.failures > 0 {
		w.metrics.failing.Set(1)
	}
	w.metrics.aside.Set(float64(w.alerts.aside.count() + w.logs.aside.count()))
}
