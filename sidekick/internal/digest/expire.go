package digest

import "time"

// Over is why an Aggregate is not to be told any more.
type Over int

// Reasons.
const (
	Not     Over = iota
	Lagging      // its first event has left the backlog
	Expired      // its first event is too old
	GivenUp      // it has failed too often
)

// TakeOver gives an Aggregate that is not to be told any more, of which sequences up
// to behind have left the backlog; nil for none.
func (s *Groups) TakeOver(now time.Time, behind uint64) (*Aggregate, Over) {
	if !isPast(s.expires, now) && behind <= s.behind && !s.givenUp {
		return nil, Not
	}
	var old *group
	var why Over
	s.expires, s.givenUp = time.Time{}, false
	for _, g := range s.groups {
		if g.waiting == nil {
			continue
		}
		if over := g.waiting.over(now, behind); over != Not {
			old, why = g, over
		}
		s.expires = earlier(s.expires, g.waiting.Expires)
	}
	if old == nil {
		s.behind = behind
		return nil, Not
	}
	s.givenUp = true // there may be another one
	return takeOut(old), why
}

// mayLag notes that an Aggregate came when others had been looked at.
func (s *Groups) mayLag(a *Aggregate) {
	if a.Seqs.First() <= s.behind {
		s.behind = 0
	}
}

func (a *Aggregate) over(now time.Time, behind uint64) Over {
	switch {
	case a.Seqs.First() <= behind:
		return Lagging
	case isPast(a.Expires, now):
		return Expired
	case a.GivenUp:
		return GivenUp
	}
	return Not
}

// Due is when Take gives something; false for nothing known.
func (s *Groups) Due(now time.Time) (time.Time, bool) {
	s.sweep(now)
	if len(s.queue) > 0 {
		return time.Time{}, true
	}
	for _, w := range s.windows {
		if w.at.Equal(w.group.ends) && w.group.waiting != nil {
			return w.at, true
		}
	}
	return time.Time{}, false
}

// Wake is when anything will change by time alone; zero for never.
func (s *Groups) Wake() time.Time {
	first := s.expires
	if len(s.windows) > 0 {
		first = earlier(first, s.windows[0].at)
	}
	return first
}

// Flush makes everything due, and has no more windows.
func (s *Groups) Flush() {
	s.window = 0
	for i, w := range s.windows {
		if w.at.Equal(w.group.ends) {
			w.group.ends = time.Unix(0, 0)
		}
		s.windows[i] = ending{w.group, w.group.ends}
	}
}
