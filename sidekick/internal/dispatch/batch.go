package dispatch

import (
	"time"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/digest"
)

// item is one event with its place in the stream.
type item = digest.Item

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

func latest(a, b time.Time) time.Time {
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
	items     []item            // to be delivered as they are,
	aggregate *digest.Aggregate // or counted in one message
	taken     *digest.Aggregate // that was, however little is left
	skipped   []uint64          // only to be acknowledged
	dead      string            // why it is not to be delivered any more: a reason of dead letters
	behind    uint64            // with deadLag: what is up to here goes

	tries digest.Attempts // of items; those of an aggregate are its own
	probe bool            // sent ahead of what failed, to see whether others get through
	aside bool            // failed while others got through
	since time.Time       // when it was set aside
	due   time.Time       // no attempt before, if it is aside
}

func (p *parcel) count() int {
	if p.aggregate != nil {
		return p.aggregate.Count
	}
	return len(p.items)
}

func (p *parcel) bytes() (n int) {
	for i := range p.items {
		n += p.items[i].Size
	}
	if p.aggregate != nil {
		n += p.aggregate.Bytes()
	}
	return n
}

// ends gives its first sequence and its last.
func (p *parcel) ends() (first, last uint64) {
	if p.aggregate != nil {
		return p.aggregate.Seqs.First(), p.aggregate.Seqs.Highest()
	}
	for i := range p.items {
		if first == 0 || p.items[i].Seq < first {
			first = p.items[i].Seq
		}
		last = max(last, p.items[i].Seq)
	}
	return first, last
}

// history is where the attempts are counted.
func (p *parcel) history() *digest.Attempts {
	if p.aggregate != nil {
		return &p.aggregate.Attempts
	}
	return &p.tries
}

// alone says whether a failure can be the fault of one message only.
func (p *parcel) alone() bool { return p.aggregate != nil || len(p.items) == 1 }

// holder keeps what one stream has for an output until it can be delivered.
type holder interface {
	// add takes a batch in; only while ready.
	add(b *batch)
	ready() bool
	// look says whether more is wanted than what comes next, to have something to
	// try when that fails.
	look(ahead bool)
	// absorb works on what was taken in, one event at a time, so that a message can
	// go out before the next joins it. It is false when there is nothing to do.
	absorb(now time.Time) bool
	// chore gives a parcel that needs no receiver: too old, up to the sequence
	// behind, or only skipped events.
	chore(now time.Time, behind uint64) *parcel
	// take gives what is to be delivered now, nil for nothing. Of a batch it gives no
	// more than size events, if that is not 0.
	take(now time.Time, size int) *parcel
	// probe gives one message that is so many behind the first; nil if there is none
	// behind it.
	probe(now time.Time, distance int) *parcel
	// suspects gives up the parcels that have failed since.
	suspects(since time.Time) []*parcel
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
