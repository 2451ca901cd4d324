package dispatch

import "time"

// Bounds of what a pile keeps in memory. What does not fit waits in the queue.
const (
	maxKinds        = 1000
	maxSpans        = 1 << 17 // 2 MiB
	maxExampleBytes = 4 << 20
)

// kind is a kind of alike events of which a message is waiting, or went out within
// the window.
type kind struct {
	likeness likeness
	tally    *tally    // what waits; nil for nothing
	ends     time.Time // of the window; zero before the first message
	queued   bool      // in the pile's queue
	out      bool      // a parcel of it is
}

// ending is the end of a kind's window, unless the kind has another by then.
type ending struct {
	kind *kind
	at   time.Time
}

// pile holds the events of one stream by kind. The first of a kind is due at once;
// those that follow within the window are told together when it ends, in one
// message, which opens the next window. A message that waits for the receiver takes
// in what comes meanwhile.
type pile struct {
	window  time.Duration
	kinds   map[likeness]*kind
	queue   []*kind  // are due, in order
	windows []ending // in order
	rest    []item   // taken in, not yet on the pile
	skipped []uint64
	spans   int
	bytes   int
	expires time.Time // no tally is too old before
}

func newPile(window time.Duration) *pile {
	return &pile{window: window, kinds: map[likeness]*kind{}}
}

func (p *pile) add(b *batch) {
	p.rest = b.items
	p.skipped = append(p.skipped, b.skipped...)
}

func (p *pile) ready() bool { return len(p.rest) == 0 }

func (p *pile) absorb(now time.Time) bool {
	p.sweep(now)
	if len(p.rest) == 0 || !p.put(p.rest[0]) {
		return false
	}
	if p.rest = p.rest[1:]; len(p.rest) == 0 {
		p.rest = nil
	}
	return true
}

// put takes one event in, unless there is no room for it.
func (p *pile) put(it item) bool {
	like := likenessOf(&it.event)
	k := p.kinds[like]
	isNew := k == nil || k.tally == nil
	if p.spans >= maxSpans || isNew && p.bytes >= maxExampleBytes || k == nil && !p.roomForKind() {
		p.hurry()
		return false
	}
	if k == nil {
		k = &kind{likeness: like}
		p.kinds[like] = k
		p.enqueue(k)
	}
	if isNew {
		k.tally = newTally(it)
		p.bytes += it.size
		p.spans++
		p.expires = earlier(p.expires, it.expires)
		return true
	}
	// The second half of the room is for what must have an example.
	bytes, spans := k.tally.join(it, p.bytes < maxExampleBytes/2)
	p.bytes += bytes
	p.spans += spans
	return true
}

func (p *pile) enqueue(k *kind) {
	if !k.queued {
		k.queued = true
		p.queue = append(p.queue, k)
	}
}

// roomForKind forgets the kind whose window has been open longest and empty, if it
// must.
func (p *pile) roomForKind() bool {
	if len(p.kinds) < maxKinds {
		return true
	}
	for i, w := range p.windows {
		if k := w.kind; w.at.Equal(k.ends) && k.tally == nil && !k.out {
			delete(p.kinds, k.likeness)
			p.windows = append(p.windows[:i], p.windows[i+1:]...)
			return true
		}
	}
	return false
}

// hurry ends the oldest window early, if nothing else makes room soon.
func (p *pile) hurry() {
	if len(p.queue) > 0 {
		return
	}
	for _, w := range p.windows {
		if k := w.kind; w.at.Equal(k.ends) && k.tally != nil && !k.out {
			p.enqueue(k)
			return
		}
	}
}

// sweep makes due what has waited for its window, and forgets kinds whose window
// ended empty.
func (p *pile) sweep(now time.Time) {
	for len(p.windows) > 0 && !p.windows[0].at.After(now) {
		w := p.windows[0]
		p.windows = p.windows[1:]
		if w.at.Equal(w.kind.ends) && !w.kind.out {
			p.settle(w.kind, now)
		}
	}
}

// settle decides on a kind that has no parcel out.
func (p *pile) settle(k *kind, now time.Time) {
	switch {
	case k.ends.After(now), p.kinds[k.likeness] != k: // open, or forgotten
	case k.tally != nil:
		p.enqueue(k)
	default:
		delete(p.kinds, k.likeness)
	}
}

func (p *pile) take(now time.Time) *parcel {
	p.sweep(now)
	for len(p.queue) > 0 {
		k := p.queue[0]
		p.queue = p.queue[1:]
		k.queued = false
		if k.tally == nil {
			continue // too old meanwhile
		}
		out := p.takeOut(k)
		k.ends = now.Add(p.window)
		p.windows = append(p.windows, ending{k, k.ends})
		return out
	}
	return nil
}

func (p *pile) takeOut(k *kind) *parcel {
	out := &parcel{tally: k.tally, kind: k}
	k.tally, k.out = nil, true
	return out
}

func (p *pile) chore(now time.Time) *parcel {
	if len(p.rest) == 0 && len(p.skipped) > 0 {
		out := &parcel{skipped: p.skipped, expired: true}
		p.skipped = nil
		return out
	}
	if !isPast(p.expires, now) {
		return nil
	}
	var old *kind
	p.expires = time.Time{}
	for _, k := range p.kinds {
		if k.tally == nil {
			continue
		}
		if old == nil && isPast(k.tally.expires, now) {
			old = k
		}
		p.expires = earlier(p.expires, k.tally.expires)
	}
	if old == nil {
		return nil
	}
	out := p.takeOut(old)
	out.expired = true
	return out
}

func (p *pile) done(out *parcel, now time.Time) {
	if k := out.kind; k != nil {
		k.out = false
		p.settle(k, now)
		p.recount()
	}
}

func (p *pile) back(out *parcel, now time.Time) {
	k := out.kind
	if k == nil {
		p.skipped = append(p.skipped, out.skipped...)
		return
	}
	k.out = false
	if k.tally != nil {
		out.tally.merge(k.tally)
	}
	k.tally = out.tally
	p.expires = earlier(p.expires, k.tally.expires)
	switch {
	case out.expired:
		p.settle(k, now)
	case !k.queued:
		k.queued = true
		p.queue = append([]*kind{k}, p.queue...)
	}
	p.recount()
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
