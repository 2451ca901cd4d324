package dispatch

import "time"

// chore gives what was skipped, or what a kind has that is not to be told any more.
func (p *pile) chore(now time.Time, behind uint64) *parcel {
	if len(p.rest) == 0 && len(p.skipped) > 0 {
		out := &parcel{skipped: p.skipped}
		p.skipped = nil
		return out
	}
	if !isPast(p.expires, now) && behind <= p.behind && !p.given {
		return nil
	}
	var old *kind
	var why string
	p.expires, p.given = time.Time{}, false
	for _, k := range p.kinds {
		if k.tally == nil {
			continue
		}
		if dead := k.tally.over(now, behind); dead != "" {
			old, why = k, dead
		}
		p.expires = earlier(p.expires, k.tally.expires)
	}
	if old == nil {
		p.behind = behind
		return nil
	}
	p.given = true // there may be another one
	out := p.takeOut(old)
	out.dead, out.behind = why, behind
	return out
}

// over says why a tally is not to be told any more, "" if it is.
func (t *tally) over(now time.Time, behind uint64) string {
	switch {
	case t.seqs[0].from <= behind:
		return deadLag
	case isPast(t.expires, now):
		return deadExpired
	case t.given:
		return deadAttempts
	}
	return ""
}

// recount finds out what the pile weighs after a parcel, which may have changed.
func (p *pile) recount() {
	p.spans, p.bytes = 0, 0
	for _, k := range p.kinds {
		if k.tally != nil {
			p.spans += len(k.tally.seqs)
			p.bytes += k.tally.bytes()
		}
	}
}

func (p *pile) due(now time.Time) (time.Time, bool) {
	p.sweep(now)
	if len(p.queue) > 0 {
		return time.Time{}, true
	}
	for _, w := range p.windows {
		if w.at.Equal(w.kind.ends) && w.kind.tally != nil {
			return w.at, true
		}
	}
	return time.Time{}, false
}

func (p *pile) wake() time.Time {
	first := p.expires
	if len(p.windows) > 0 {
		first = earlier(first, p.windows[0].at)
	}
	return first
}

func (p *pile) flush() {
	p.window = 0
	for i, w := range p.windows {
		if w.at.Equal(w.kind.ends) {
			w.kind.ends = time.Unix(0, 0)
		}
		p.windows[i] = ending{w.kind, w.kind.ends}
	}
}
