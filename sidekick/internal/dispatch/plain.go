package dispatch

import (
	"slices"
	"time"
)

const (
	// What is read ahead while the first event fails, to see whether others get
	// through.
	maxAhead      = 64
	maxAheadBytes = 1 << 20
)

// plain holds batches in order, each of which is delivered as it is while nothing
// fails.
type plain struct {
	queue   []*parcel
	skipped []uint64
	ahead   bool
}

func (s *plain) add(b *batch) {
	s.skipped = append(s.skipped, b.skipped...)
	if len(b.items) > 0 {
		s.queue = append(s.queue, &parcel{items: b.items})
	}
}

func (s *plain) ready() bool {
	if !s.ahead {
		return len(s.queue) == 0
	}
	bytes := 0
	for _, p := range s.queue {
		bytes += p.bytes()
	}
	return len(s.queue) < maxAhead && bytes < maxAheadBytes
}

func (s *plain) look(ahead bool) { s.ahead = ahead }

func (s *plain) absorb(time.Time) bool { return false }

func (s *plain) chore(now time.Time, behind uint64) *parcel {
	if len(s.skipped) > 0 {
		out := &parcel{skipped: s.skipped}
		s.skipped = nil
		return out
	}
	if out := s.withdraw(func(it *item) bool { return it.Seq <= behind }); len(out) > 0 {
		return &parcel{items: out, dead: deadLag, behind: behind}
	}
	if out := s.withdraw(func(it *item) bool { return isPast(it.Expires, now) }); len(out) > 0 {
		return &parcel{items: out, dead: deadExpired}
	}
	return nil
}

// withdraw takes out the events that match.
func (s *plain) withdraw(match func(*item) bool) (out []item) {
	for _, p := range s.queue {
		if !slices.ContainsFunc(p.items, func(it item) bool { return match(&it) }) {
			continue
		}
		var left []item
		for i := range p.items {
			if match(&p.items[i]) {
				out = append(out, p.items[i])
			} else {
				left = append(left, p.items[i])
			}
		}
		p.items = left
	}
	s.tidy()
	return out
}

func (s *plain) tidy() {
	s.queue = slices.DeleteFunc(s.queue, func(p *parcel) bool { return len(p.items) == 0 })
}

func (s *plain) take(_ time.Time, size int) *parcel {
	if len(s.queue) == 0 {
		return nil
	}
	p := s.queue[0]
	if size == 0 || len(p.items) <= size {
		s.queue = s.queue[1:]
		return p
	}
	out := &parcel{items: p.items[:size:size], tries: p.tries}
	s.queue[0] = &parcel{items: p.items[size:]}
	return out
}

func (s *plain) probe(_ time.Time, distance int) *parcel {
	at, inside, first := -1, 0, true
	for i, p := range s.queue {
		for j := range p.items {
			if !first && distance > 0 {
				at, inside = i, j
				distance--
			}
			first = false
		}
	}
	if at < 0 {
		return nil
	}
	p := s.queue[at]
	out := &parcel{items: []item{p.items[inside]}}
	before := &parcel{items: p.items[:inside:inside], tries: p.tries}
	after := &parcel{items: p.items[inside+1:]}
	s.queue = slices.Replace(s.queue, at, at+1, before, after)
	s.tidy()
	return out
}

func (s *plain) suspects(since time.Time) (out []*parcel) {
	s.queue = slices.DeleteFunc(s.queue, func(p *parcel) bool {
		failed := p.tries.Count > 0 && !p.tries.Last.Before(since)
		if failed {
			out = append(out, p)
		}
		return failed
	})
	return out
}

func (s *plain) done(*parcel, time.Time) {}

// back puts a parcel where it was, by the order of the stream.
func (s *plain) back(p *parcel, _ time.Time) {
	if len(p.items) == 0 {
		s.skipped = append(s.skipped, p.skipped...)
		return
	}
	p.dead, p.probe = "", false
	i := slices.IndexFunc(s.queue, func(o *parcel) bool { return o.items[0].Seq > p.items[0].Seq })
	if i < 0 {
		i = len(s.queue)
	}
	s.queue = slices.Insert(s.queue, i, p)
}

func (s *plain) due(time.Time) (time.Time, bool) { return time.Time{}, len(s.queue) > 0 }

func (s *plain) wake() time.Time {
	var first time.Time
	for _, p := range s.queue {
		for i := range p.items {
			first = earlier(first, p.items[i].Expires)
		}
	}
	return first
}

func (s *plain) flush() {}
