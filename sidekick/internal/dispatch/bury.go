package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/sidekick/internal/feed"
)

// dispose brings what is not to be delivered any more to the dead letters.
func (j *job) dispose(ctx context.Context) error {
	p, now := j.parcel, time.Now()
	switch p.dead {
	case deadLag:
		return j.bury(ctx, deadLag, "left the backlog: the queue was full, and other outputs keep up", func(it *item) bool { return it.Seq <= p.behind })
	case deadAttempts:
		h := *p.history()
		j.log.Warn("events fail while others get through, they are given up and go to the dead letters",
			"events", p.count(), "first", p.firstID(), "error", h.Reason)
		return j.bury(ctx, deadAttempts, fmt.Sprintf("given up after %d attempts: %s", max(h.Count, 1), h.Reason), func(*item) bool { return true })
	}
	j.log.Warn("events are too old to be delivered and go to the dead letters", "max_age", j.maxAge.String(), "first", p.firstID())
	return j.bury(ctx, deadExpired, "expired", func(it *item) bool { return isPast(it.Expires, now) })
}

// bury puts events into the dead letters, from the first to the first that is not
// meant. What is left stays in the parcel, after an error too: nothing that was
// accepted is dropped unseen.
func (j *job) bury(ctx context.Context, reason, text string, meant func(*item) bool) error {
	var done []uint64
	defer func() { j.ack(ctx, slices.Values(done)) }()
	for j.parcel.count() > 0 {
		it, err := j.first(ctx)
		gone := errors.Is(err, fs.ErrNotExist)
		switch {
		case gone:
			j.log.Error("event was dropped: the queue does not have it any more", "error", err)
			j.metrics.lost(lostGone)
			j.board.died(j.target.Name, lostGone, false)
			j.report.event(feed.Lost, "", lostGone)
		case err != nil:
			return &failure{class: outputs.Transient, err: err}
		case !meant(it):
			return j.keepFirst(it)
		default:
			if err := j.letter(ctx, reason, text, it); err != nil {
				return &failure{class: outputs.Transient, err: err}
			}
		}
		done = append(done, j.dropFirst())
		if len(done) == ackAtOnce {
			j.ack(ctx, slices.Values(done))
			done = done[:0]
		}
	}
	j.parcel.aggregate = nil
	return nil
}

// letter keeps one event. What left the backlog takes no room from other dead
// letters: those may be all that is left of what was refused.
func (j *job) letter(ctx context.Context, reason, text string, it *item) error {
	kept := true
	var err error
	if reason == deadLag {
		kept, err = j.dead.Spare(ctx, j.target.Name, text, time.Now(), it.Event)
	} else {
		err = j.dead.DeadLetter(ctx, j.target.Name, text, time.Now(), it.Event)
	}
	switch {
	case err != nil:
		return err
	case kept:
		j.metrics.died(reason)
		j.report.event(feed.DeadLetter, it.Event.ID, text)
	default:
		j.metrics.lost(reason)
		j.report.event(feed.Lost, it.Event.ID, text)
	}
	j.board.died(j.target.Name, reason, kept)
	return nil
}

// first gives the first event of the parcel, from the queue if need be.
func (j *job) first(ctx context.Context) (*item, error) {
	p := j.parcel
	if p.aggregate == nil {
		return &p.items[0], nil
	}
	seq := p.aggregate.Seqs.First()
	if i := slices.IndexFunc(p.aggregate.Examples, func(it item) bool { return it.Seq == seq }); i >= 0 {
		return &p.aggregate.Examples[i], nil
	}
	e, size, err := j.reader.Event(ctx, seq)
	if err != nil {
		return nil, err
	}
	return &item{Event: e, Size: size, Seq: seq, Expires: expiry(&e, time.Now(), j.maxAge)}, nil
}

func (j *job) dropFirst() (seq uint64) {
	if a := j.parcel.aggregate; a != nil {
		return a.DropFirst()
	}
	seq = j.parcel.items[0].Seq
	j.parcel.items = j.parcel.items[1:]
	return seq
}

// errKept says that the rest of a parcel is not too old.
var errKept = errors.New("the rest is not too old")

// keepFirst has an aggregate begin with the first event that is left of it.
func (j *job) keepFirst(it *item) error {
	if t := j.parcel.aggregate; t != nil {
		t.First, t.Expires = it.Event.Time(), it.Expires
		if len(t.Examples) == 0 {
			t.Examples = []item{*it}
		}
	}
	return errKept
}
