// Package feed tells whoever listens in the process what was accepted, and what
// became of each event at each output. Whoever tells never waits: listeners that are
// slow miss the oldest, and learn how much. Nothing is kept for who is not there.
package feed

import (
	"sync"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

// Feed is what there is to listen to. Each kind of event has a Log of its own, so
// that a flood of logs takes no alert from a listener.
type Feed struct {
	Alerts, Logs, Falco *Log[*Event]
	Outcomes            *Log[Outcome]
}

// New makes a Feed.
func New() *Feed {
	return &Feed{
		Alerts: newLog((*Event).size), Logs: newLog((*Event).size), Falco: newLog((*Event).size),
		Outcomes: newLog(Outcome.size),
	}
}

// End ends all of it: listeners get what is left.
func (f *Feed) End() {
	f.Alerts.End()
	f.Logs.End()
	f.Falco.End()
	f.Outcomes.End()
}

// Accepted tells of events that were stored. It does not wait for those who listen.
func (f *Feed) Accepted(events []schema.Packed) {
	for i := range events {
		if l := f.of(events[i].Kind); l != nil && l.Listening() {
			l.Add(&Event{Packed: events[i]})
		}
	}
}

func (f *Feed) of(kind schema.Kind) *Log[*Event] {
	switch kind {
	case schema.KindAlert:
		return f.Alerts
	case schema.KindLog:
		return f.Logs
	case schema.KindFalco:
		return f.Falco
	}
	return nil
}

// Event is an event that was accepted. Those who listen share it.
type Event struct {
	schema.Packed
	once  sync.Once
	event schema.Event
	err   error
}

// Read gives the event, which is read once for all who listen. It must not be
// changed.
func (e *Event) Read() (schema.Event, error) {
	e.once.Do(func() { e.event, e.err = e.Packed.Event() })
	return e.event, e.err
}

// structBytes is what an item takes beside its texts.
const structBytes = 256

func (e *Event) size() int { return structBytes + e.Size() }

// What became of an event.
type What string

// What can become of events at an output. Aggregated and Failed are not the last
// word.
const (
	Delivered  What = "delivered"
	Aggregated What = "aggregated"  // counted in a message that is to be sent: see Groups
	Filtered   What = "filtered"    // not wanted: below the minimum priority, or by the filter
	Failed     What = "failed"      // an attempt did; there will be another one
	DeadLetter What = "dead_letter" // given up, and kept as a dead letter
	Lost       What = "lost"        // given up, without room among the dead letters
)

// Outcome is what became of events at one output.
type Outcome struct {
	Time   time.Time
	Output string
	What   What
	IDs    []string // of the events; none of those that are in Groups
	// Groups are messages that count events instead of showing them. An event that is
	// Aggregated names the group that it went into; what becomes of that group becomes
	// of all its events, unless there is an Outcome of a single one.
	Groups []uint64
	Count  int    // of events, those in groups as well
	Reason string // of Filtered, Failed, DeadLetter and Lost
}

func (o Outcome) size() int {
	n := structBytes + len(o.Reason) + 8*len(o.Groups)
	for _, id := range o.IDs {
		n += 16 + len(id)
	}
	return n
}
