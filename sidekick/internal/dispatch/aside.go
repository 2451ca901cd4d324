package dispatch

import (
	"slices"
	"time"
)

const (
	// What an output fails while it takes others is given up after so long, however
	// few attempts that was: each of them may hang.
	maxAsideTime = 30 * time.Minute

	// Bounds of what is aside in memory. Beyond them the oldest is given up.
	maxAside      = 1024
	maxAsideBytes = 2 << 20
)

// aside holds what an output fails while it takes other events. It is tried again
// apart from them, and given up after some attempts.
type aside struct {
	parcels     []*parcel // in the order in which they came
	maxAttempts int
}

func (a *aside) add(p *parcel, now time.Time) {
	p.aside, p.probe, p.since = true, false, now
	// Earlier attempts may have met an outage.
	p.tries.Count = 1
	p.due = now.Add(backoff(1, 0, 0))
	a.parcels = append(a.parcels, p)
}

func (a *aside) count() (n int) {
	for _, p := range a.parcels {
		n += p.count()
	}
	return n
}

// take gives a parcel whose time has come.
func (a *aside) take(now time.Time) *parcel {
	return a.remove(func(p *parcel) bool { return !p.due.After(now) })
}

func (a *aside) remove(match func(*parcel) bool) *parcel {
	i := slices.IndexFunc(a.parcels, match)
	if i < 0 {
		return nil
	}
	p := a.parcels[i]
	a.parcels = slices.Delete(a.parcels, i, i+1)
	return p
}

// back takes a parcel in that failed once more; an attempt that took so long. Of
// several events each half is tried by itself, since one alone may be at fault.
func (a *aside) back(p *parcel, now time.Time, took time.Duration, chance float64) {
	p.dead = ""
	if n := len(p.items); n > 1 {
		for _, items := range [][]item{p.items[: n/2 : n/2], p.items[n/2:]} {
			half := *p
			half.items, half.due, half.tries.Count = items, now, 1
			a.parcels = append(a.parcels, &half)
		}
		return
	}
	// What hangs must not take the time of the others.
	p.due = now.Add(max(backoff(p.tries.Count, 0, chance), 10*took))
	a.parcels = append(a.parcels, p)
}

// chore gives what is not to be tried any more. In an outage it is not tried, and so
// not given up.
func (a *aside) chore(now time.Time, behind uint64, outage bool) *parcel {
	bytes := 0
	for _, p := range a.parcels {
		bytes += p.bytes()
	}
	full := len(a.parcels) > maxAside || bytes > maxAsideBytes
	reason := ""
	out := a.remove(func(p *parcel) bool {
		switch {
		case p.items[0].Seq <= behind:
			reason = deadLag
		case slices.ContainsFunc(p.items, func(it item) bool { return isPast(it.Expires, now) }):
			reason = deadExpired
		case full, len(p.items) == 1 && p.tries.Count >= a.maxAttempts, !outage && now.Sub(p.since) >= maxAsideTime:
			reason = deadAttempts
		}
		return reason != ""
	})
	if out != nil {
		out.dead, out.behind = reason, behind
	}
	return out
}

// due is when take will give something; zero for never.
func (a *aside) due() time.Time {
	var first time.Time
	for _, p := range a.parcels {
		first = earlier(first, p.due)
	}
	return first
}

// restart has the time begin anew: in an outage nothing is tried.
func (a *aside) restart(now time.Time) {
	for _, p := range a.parcels {
		p.since = now
	}
}

// wake is when chore will give something by time alone; zero for never.
func (a *aside) wake(outage bool) time.Time {
	var first time.Time
	for _, p := range a.parcels {
		if !outage {
			first = earlier(first, p.since.Add(maxAsideTime))
		}
		for i := range p.items {
			first = earlier(first, p.items[i].Expires)
		}
	}
	return first
}

// hasten makes everything due.
func (a *aside) hasten(now time.Time) {
	for _, p := range a.parcels {
		p.due = now
	}
}
