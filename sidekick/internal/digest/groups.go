// Package digest makes one message of similar events: it groups them, waits for the
// end of a group's window, and counts and describes what came within it. It delivers
// nothing.
package digest

import (
	"slices"
	"time"
)

// Bounds of what is in memory. What does not fit waits in the queue.
const (
	MaxGroups = 1000
	// The workload chooses programs and places, and a service takes a message a
	// second: where so many messages wait, further groups are merged by policy and
	// action, and where twice as many do, by action alone.
	MaxWaiting      = 50
	maxSpans        = 1 << 17 // 2 MiB
	MaxExampleBytes = 4 << 20
)

// group is events of which a message is waiting, or went out within the window.
type group struct {
	key      key
	waiting  *Aggregate // nil for nothing
	ends     time.Time  // of the window; zero before the first message
	queued   bool       // in the queue of messages that are due
	inFlight bool       // an aggregate of it was taken, and is not done
}

// ending is the end of a group's window, unless the group has another by then.
type ending struct {
	group *group
	at    time.Time
}

// Options are how events are grouped.
type Options struct {
	Window time.Duration
	Merged func()                       // is called for each event that is told with those of other groups
	ID     func() uint64                // gives the ID of a new aggregate
	Joined func(event string, a uint64) // is called for each event that goes into an aggregate
}

// Groups holds the events of one stream by group. The first of a group is due at
// once; those that follow within the window are told together when it ends, in one
// message, which opens the next window. A message that waits for the receiver takes
// in what comes meanwhile. It is for one goroutine.
type Groups struct {
	opts    Options
	window  time.Duration
	groups  map[key]*group
	queue   []*group // are due, in order
	windows []ending // in order
	rest    []Item   // taken in, not yet grouped
	behind  uint64   // what is up to here is not here any more
	spans   int
	bytes   int
	expires time.Time // no aggregate is too old before
	givenUp bool      // an aggregate may have been
}

// New makes Groups.
func New(opts Options) *Groups {
	return &Groups{opts: opts, window: opts.Window, groups: map[key]*group{}}
}

// Add takes events in; only while Ready.
func (s *Groups) Add(items []Item) { s.rest = items }

// Ready says whether all that was added is grouped.
func (s *Groups) Ready() bool { return len(s.rest) == 0 }

// Absorb groups one event, so that a message can go out before the next joins it. It
// is false when there is none, or no memory for it.
func (s *Groups) Absorb(now time.Time) bool {
	s.sweep(now)
	if len(s.rest) == 0 || !s.put(s.rest[0]) {
		return false
	}
	if s.rest = s.rest[1:]; len(s.rest) == 0 {
		s.rest = nil
	}
	return true
}

// put takes one event in, unless there is no memory for it.
func (s *Groups) put(it Item) bool {
	g, key, mixed := s.groupOf(&it)
	isNew := g == nil || g.waiting == nil
	if s.spans >= maxSpans || isNew && s.bytes >= MaxExampleBytes || g == nil && !s.spaceForGroup() {
		s.hurry()
		return false
	}
	if g == nil {
		g = &group{key: key}
		s.groups[key] = g
		s.enqueue(g)
	}
	if mixed {
		s.opts.Merged()
	}
	if isNew {
		g.waiting = newAggregate(it, g)
		g.waiting.Mixed, g.waiting.IDs = mixed, []uint64{s.opts.ID()}
		s.bytes += it.Size
		s.spans++
		s.expires = earlier(s.expires, it.Expires)
		s.mayLag(g.waiting)
	} else {
		// The second half of the memory is for what must have an example.
		bytes, spans := g.waiting.join(it, s.bytes < MaxExampleBytes/2)
		s.bytes += bytes
		s.spans += spans
	}
	s.opts.Joined(it.Event.ID, g.waiting.IDs[0])
	return true
}

// groupOf gives the group of an event, nil for a new one, and whether that is one of
// several merged.
func (s *Groups) groupOf(it *Item) (g *group, k key, mixed bool) {
	k = keyOf(&it.Event)
	if g = s.groups[k]; g != nil || len(s.queue) < MaxWaiting {
		return g, k, false
	}
	k = coarseKey(&it.Event, len(s.queue) < 2*MaxWaiting)
	return s.groups[k], k, true
}

func (s *Groups) enqueue(g *group) {
	if !g.queued {
		g.queued = true
		s.queue = append(s.queue, g)
	}
}

// spaceForGroup forgets the group whose window has been open longest and empty, if it
// must.
func (s *Groups) spaceForGroup() bool {
	if len(s.groups) < MaxGroups {
		return true
	}
	for i, w := range s.windows {
		if g := w.group; w.at.Equal(g.ends) && g.waiting == nil && !g.inFlight {
			delete(s.groups, g.key)
			s.windows = append(s.windows[:i], s.windows[i+1:]...)
			return true
		}
	}
	return false
}

// hurry ends the oldest window early, if nothing else makes space soon.
func (s *Groups) hurry() {
	if len(s.queue) > 0 {
		return
	}
	for _, w := range s.windows {
		if g := w.group; w.at.Equal(g.ends) && g.waiting != nil && !g.inFlight {
			s.enqueue(g)
			return
		}
	}
}

// sweep makes due what has waited for its window, and forgets groups whose window
// ended empty.
func (s *Groups) sweep(now time.Time) {
	for len(s.windows) > 0 && !s.windows[0].at.After(now) {
		w := s.windows[0]
		s.windows = s.windows[1:]
		if w.at.Equal(w.group.ends) && !w.group.inFlight {
			s.settle(w.group, now)
		}
	}
}

// settle decides on a group that has nothing in flight.
func (s *Groups) settle(g *group, now time.Time) {
	switch {
	case g.ends.After(now), s.groups[g.key] != g: // open, or forgotten
	case g.waiting != nil:
		s.enqueue(g)
	default:
		delete(s.groups, g.key)
	}
}

// Take gives what is to be told now, nil for nothing. Done or Back must follow.
func (s *Groups) Take(now time.Time) *Aggregate {
	s.sweep(now)
	for len(s.queue) > 0 {
		g := s.queue[0]
		s.queue = s.queue[1:]
		if g.waiting == nil {
			g.queued = false
			continue // too old meanwhile
		}
		return s.send(g, now)
	}
	return nil
}

// send takes the message of a group out, which opens its window.
func (s *Groups) send(g *group, now time.Time) *Aggregate {
	g.queued = false
	g.ends = now.Add(s.window)
	s.windows = append(s.windows, ending{g, g.ends})
	return takeOut(g)
}

func takeOut(g *group) *Aggregate {
	a := g.waiting
	g.waiting, g.inFlight = nil, true
	return a
}

// TakeBehind gives what is so many behind the first; nil if there is none behind it.
func (s *Groups) TakeBehind(now time.Time, distance int) *Aggregate {
	s.sweep(now)
	s.queue = slices.DeleteFunc(s.queue, func(g *group) bool {
		g.queued = g.waiting != nil
		return !g.queued
	})
	if len(s.queue) < 2 {
		return nil
	}
	i := min(distance, len(s.queue)-1)
	g := s.queue[i]
	s.queue = slices.Delete(s.queue, i, i+1)
	return s.send(g, now)
}

// TakeFailed gives all that are due and have failed since.
func (s *Groups) TakeFailed(since time.Time) (failed []*Aggregate) {
	var left []*group
	for _, g := range s.queue {
		if g.waiting != nil && g.waiting.Attempts.Count > 0 && !g.waiting.Attempts.Last.Before(since) {
			g.queued = false
			failed = append(failed, takeOut(g))
		} else {
			left = append(left, g)
		}
	}
	s.queue = left
	return failed
}

// Done says that nothing is left of a.
func (s *Groups) Done(a *Aggregate, now time.Time) {
	a.group.inFlight = false
	s.settle(a.group, now)
	s.recount()
}

// Place is where an Aggregate goes that is given back.
type Place int

// The places.
const (
	First  Place = iota // it is told before all others
	Second              // what it was taken before is still the first
	Window              // when its window ends
)

// Back gives back what is left of a.
func (s *Groups) Back(a *Aggregate, now time.Time, place Place) {
	g := a.group
	g.inFlight = false
	if g.waiting != nil {
		a.merge(g.waiting)
	}
	g.waiting = a
	s.givenUp = s.givenUp || a.GivenUp
	s.expires = earlier(s.expires, a.Expires)
	s.mayLag(a)
	switch {
	case place == Window:
		s.settle(g, now)
	case !g.queued:
		g.queued = true
		at := 0
		if place == Second {
			at = min(1, len(s.queue))
		}
		s.queue = slices.Insert(s.queue, at, g)
	}
	s.recount()
}

// recount finds out what all weighs after an Aggregate came back, or did not.
func (s *Groups) recount() {
	s.spans, s.bytes = 0, 0
	for _, g := range s.groups {
		if g.waiting != nil {
			s.spans += len(g.waiting.Seqs)
			s.bytes += g.waiting.Bytes()
		}
	}
}
