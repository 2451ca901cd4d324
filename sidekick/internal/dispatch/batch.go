package dispatch

import (
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

// item is one event with its place in the stream.
type item struct {
	event schema.Event
	size  int
	seq   uint64
	// expires is when the event is too old; zero for never. It is of the monotonic
	// clock, so that a clock which is set does not make events old that wait here.
	expires time.Time
}

// expiry gives when an event that is looked at now will be too old. One from the
// future, of a clock that was wrong, is as old as this look.
func expiry(e *schema.Event, now time.Time, maxAge time.Duration) time.Time {
	if maxAge <= 0 {
		return time.Time{}
	}
	var age time.Duration
	if !e.Received.IsZero() {
		age = max(0, now.Sub(e.Received))
	}
	return now.Add(maxAge - age)
}

func isPast(t, now time.Time) bool { return !t.IsZero() && !t.After(now) }

// earlier gives the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// batch is what a feeder has read at once.
type batch struct {
	items   []item
	skipped []uint64 // did not pass the gate
	bytes   int
	read    int // bytes, with those of what was skipped
}

// parcel is what is delivered, retried and acknowledged as one.
type parcel struct {
	items   []item   // to be delivered as they are,
	tally   *tally   // or counted in one message
	kind    *kind    // whose tally it is
	skipped []uint64 // only to be acknowledged
	expired bool     // not to be delivered: too old
}

func (p *parcel) count() int {
	if p.tally != nil {
		return p.tally.count
	}
	return len(p.items)
}

// holder keeps what one stream has for an output until it can be delivered. At any
// time at most one parcel of it is out.
type holder interface {
	// add takes a batch in; only while ready.
	add(b *batch)
	ready() bool
	// absorb works on what was taken in, one event at a time, so that a message can
	// go out before the next joins it. It is false when there is nothing to do.
	absorb(now time.Time) bool
	// chore gives a parcel that needs no receiver: too old, or only skipped events.
	chore(now time.Time) *parcel
	// take gives what is to be delivered now, nil for nothing.
	take(now time.Time) *parcel
	// done and back take leave of a parcel: nothing is left of it, or some is.
	done(p *parcel, now time.Time)
	back(p *parcel, now time.Time)
	// due is when take gives something; false for nothing known.
	due(now time.Time) (time.Time, bool)
	// wake is when absorb, chore or due will change by time alone; zero for never.
	wake() time.Time
	// flush makes everything due.
	flush()
}

// plain holds one batch at a time, which is delivered as it is.
type plain struct {
	held *parcel
	out  bool
}

func (s *plain) add(b *batch) { s.held = &parcel{items: b.items, skipped: b.skipped} }

func (s *plain) ready() bool { return s.held == nil && !s.out }

func (s *plain) absorb(time.Time) bool { return false }

func (s *plain) chore(now time.Time) *parcel {
	if s.held == nil {
		return nil
	}
	fresh, old := s.held.items[:0:0], s.held.items[:0:0]
	for _, it := range s.held.items {
		if isPast(it.expires, now) {
			old = append(old, it)
		} else {
			fresh = append(fresh, it)
		}
	}
	switch {
	case len(fresh) == 0:
		s.held.expired = true
		return s.take(now)
	case len(old) == 0:
		return nil
	}
	s.held.items, s.out = fresh, true
	return &parcel{items: old, expired: true}
}

func (s *plain) take(time.Time) *parcel {
	p := s.held
	if p != nil {
		s.held, s.out = nil, true
	}
	return p
}

func (s *plain) done(*parcel, time.Time) { s.out = false }

func (s *plain) back(p *parcel, _ time.Time) {
	s.out = false
	p.expired = false
	if s.held != nil {
		p.items = append(p.items, s.held.items...)
		p.skipped = append(p.skipped, s.held.skipped...)
	}
	s.held = p
}

func (s *plain) due(time.Time) (time.Time, bool) { return time.Time{}, s.held != nil }

func (s *plain) wake() time.Time {
	var first time.Time
	if s.held != nil {
		for i := range s.held.items {
			first = earlier(first, s.held.items[i].expires)
		}
	}
	return first
}

func (s *plain) flush() {}
