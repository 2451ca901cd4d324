package digest

import (
	"cmp"
	"slices"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

// maxExamples is how many events of an aggregate are shown.
const maxExamples = 3

// Item is one event with its place in the stream.
type Item struct {
	Event schema.Event
	Size  int
	Seq   uint64
	// Expires is when the event is too old; zero for never. It is of the monotonic
	// clock, so that a clock which is set does not make events old that wait here.
	Expires time.Time
}

// Attempts is what became of earlier attempts to deliver something.
type Attempts struct {
	Count  int
	First  time.Time // failure
	Last   time.Time
	Reason string // of the last failure
}

// Failed counts an attempt; it says whether the reason is another one than before.
func (a *Attempts) Failed(now time.Time, err error) (another bool) {
	another = a.Count > 0 && a.Reason != err.Error()
	if a.Count == 0 {
		a.First = now
	}
	a.Count++
	a.Last = now
	a.Reason = err.Error()
	return another
}

// Aggregate is events of one group that wait to be told in one message. It has the
// first event and some that differ from it; of the others only that they are.
type Aggregate struct {
	Count       int
	First, Last time.Time // when they happened
	Examples    []Item
	Seqs        Sequences
	Expires     time.Time // of the first
	Mixed       bool      // of several groups
	IDs         []uint64  // by which others know it; several after a merge

	Attempts Attempts // to deliver it
	Removed  int      // so often its examples were taken out
	GivenUp  bool     // it is not to be tried any more

	resource pattern
	group    *group // it is of
}

func newAggregate(it Item, g *group) *Aggregate {
	at := it.Event.Time()
	a := &Aggregate{Count: 1, First: at, Last: at, resource: patternOf(resource(&it.Event)), Examples: []Item{it}, Expires: it.Expires, group: g}
	a.Seqs.add(it.Seq)
	return a
}

// Resource is what the events are about, with * for what differs.
func (a *Aggregate) Resource() string { return a.resource.String() }

// join takes one more event in; it gives what that costs: bytes of an example, and
// spans of sequences.
func (a *Aggregate) join(it Item, withExample bool) (bytes, spans int) {
	at := it.Event.Time()
	a.Count++
	a.First, a.Last = earlier(a.First, at), latest(a.Last, at)
	a.resource = a.resource.merge(patternOf(resource(&it.Event)))
	if a.Seqs.add(it.Seq) {
		spans = 1
	}
	if withExample && a.shows(&it) {
		a.Examples = append(a.Examples, it)
		bytes = it.Size
	}
	return bytes, spans
}

func (a *Aggregate) shows(it *Item) bool {
	return len(a.Examples) < maxExamples &&
		!slices.ContainsFunc(a.Examples, func(other Item) bool { return !differ(&other.Event, &it.Event) })
}

// merge takes in what came after a, or before where each was away for a while.
func (a *Aggregate) merge(o *Aggregate) {
	a.Count += o.Count
	a.First, a.Last = earlier(a.First, o.First), latest(a.Last, o.Last)
	a.resource = a.resource.merge(o.resource)
	for i := range o.Examples {
		if a.shows(&o.Examples[i]) {
			a.Examples = append(a.Examples, o.Examples[i])
		}
	}
	a.Seqs = append(a.Seqs, o.Seqs...)
	slices.SortFunc(a.Seqs, func(x, y span) int { return cmp.Compare(x.from, y.from) })
	a.Expires = earlier(a.Expires, o.Expires)
	a.Mixed = a.Mixed || o.Mixed
	a.IDs = append(a.IDs, o.IDs...)
}

// Bytes is what the examples weigh.
func (a *Aggregate) Bytes() (n int) {
	for i := range a.Examples {
		n += a.Examples[i].Size
	}
	return n
}

// Remove takes one event out, which is an example.
func (a *Aggregate) Remove(seq uint64) {
	a.Seqs = a.Seqs.without(seq)
	a.Count--
}

// DropFirst takes the first event out, and gives its sequence.
func (a *Aggregate) DropFirst() (seq uint64) {
	seq = a.Seqs.First()
	a.Seqs.dropFirst()
	a.Count--
	a.Examples = slices.DeleteFunc(a.Examples, func(it Item) bool { return it.Seq == seq })
	return seq
}

// earlier gives the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func isPast(t, now time.Time) bool { return !t.IsZero() && !t.After(now) }
