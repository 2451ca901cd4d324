package dispatch

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of what a pile keeps in memory. What does not fit waits in the queue.
const (
	maxKinds = 1000
	// The workload chooses programs and places, and a service takes a message a
	// second: where so many messages wait, further kinds are merged by policy and
	// action, and where twice as many do, by action alone.
	maxWaiting      = 50
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
	merged  prometheus.Counter // events told with those of other kinds
	report  reporter
	behind  uint64 // what is up to here is not here any more
	spans   int
	bytes   int
	expires time.Time // no tally is too old before
	given   bool      // a tally may have been given up
}

func newPile(window time.Duration, merged prometheus.Counter, report reporter) *pile {
	return &pile{window: window, report: report, kinds: map[likeness]*kind{}, merged: merged}
}

func (p *pile) add(b *batch) {
	p.rest = b.items
	p.skipped = append(p.skipped, b.skipped...)
}

func (p *pile) ready() bool { return len(p.rest) == 0 }

func (p *pile) look(bool) {} // it takes in what it can in any case

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
	k, like, mixed := p.kindOf(&it)
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
	if mixed {
		p.merged.Inc()
	}
	if isNew {
		k.tally = newTally(it)
		k.tally.mixed, k.tally.groups = mixed, []uint64{p.report.group()}
		p.report.aggregated(it.event.ID, k.tally.groups[0])
		p.bytes += it.size
		p.spans++
		p.expires = earlier(p.expires, it.expires)
		return true
	}
	// The second half of the room is for what must have an example.
	bytes, spans := k.tally.join(it, p.bytes < maxExampleBytes/2)
	p.bytes += bytes
	p.spans += spans
	p.report.aggregated(it.event.ID, k.tally.groups[0])
	return true
}

// kindOf gives the kind of an event, nil for a new one, and whether that is one of
// several merged.
func (p *pile) kindOf(it *item) (k *kind, like likeness, mixed bool) {
	like = likenessOf(&it.event)
	if k = p.kinds[like]; k != nil || len(p.queue) < maxWaiting {
		return k, like, false
	}
	like = roughly(&it.event, len(p.queue) < 2*maxWaiting)
	return p.kinds[like], like, true
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

func (p *pile) take(now time.Time, _ int) *parcel {
	p.sweep(now)
	for len(p.queue) > 0 {
		k := p.queue[0]
		p.queue = p.queue[1:]
		if k.tally == nil {
			k.queued = false
			continue // too old meanwhile
		}
		return p.send(k, now)
	}
	return nil
}

// send takes the message of a kind out, which opens its window.
func (p *pile) send(k *kind, now time.Time) *parcel {
	k.queued = false
	k.ends = now.Add(p.window)
	p.windows = append(p.windows, ending{k, k.ends})
	return p.takeOut(k)
}

func (p *pile) takeOut(k *kind) *parcel {
	out := &parcel{tally: k.tally, kind: k}
	k.tally, k.out = nil, true
	return out
}

func (p *pile) probe(now time.Time, distance int) *parcel {
	p.sweep(now)
	p.queue = slices.DeleteFunc(p.queue, func(k *kind) bool {
		k.queued = k.tally != nil
		return !k.queued
	})
	if len(p.queue) < 2 {
		return nil
	}
	i := min(distance, len(p.queue)-1)
	k := p.queue[i]
	p.queue = slices.Delete(p.queue, i, i+1)
	return p.send(k, now)
}

func (p *pile) suspects(since time.Time) (out []*parcel) {
	var left []*kind
	for _, k := range p.queue {
		if k.tally != nil && k.tally.tries.attempts > 0 && !k.tally.tries.last.Before(since) {
			k.queued = false
			out = append(out, p.takeOut(k))
		} else {
			left = append(left, k)
		}
	}
	p.queue = left
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
	p.given = p.given || k.tally.given
	p.expires = earlier(p.expires, k.tally.expires)
	switch {
	case out.dead != "":
		p.settle(k, now)
	case !k.queued:
		k.queued = true
		at := 0
		if out.probe {
			at = min(1, len(p.queue)) // what it was sent ahead of is still the first
		}
		p.queue = slices.Insert(p.queue, at, k)
	}
	p.recount()
}
