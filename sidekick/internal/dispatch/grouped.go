package dispatch

import (
	"time"

	"github.com/sidearmor/sidearmor/sidekick/internal/digest"
)

// grouped is a holder that makes digests.
type grouped struct {
	groups  *digest.Groups
	skipped []uint64
}

func newGrouped(window time.Duration, merged func(), report reporter) *grouped {
	return &grouped{groups: digest.New(digest.Options{Window: window, Merged: merged, ID: report.group, Joined: report.aggregated})}
}

func (h *grouped) add(b *batch) {
	h.groups.Add(b.items)
	h.skipped = append(h.skipped, b.skipped...)
}

func (h *grouped) ready() bool { return h.groups.Ready() }

func (h *grouped) look(bool) {} // it takes in what it can in any case

func (h *grouped) absorb(now time.Time) bool { return h.groups.Absorb(now) }

// chore gives what was skipped, or what a group has that is not to be told any more.
func (h *grouped) chore(now time.Time, behind uint64) *parcel {
	if h.groups.Ready() && len(h.skipped) > 0 {
		out := &parcel{skipped: h.skipped}
		h.skipped = nil
		return out
	}
	reasons := map[digest.Over]string{digest.Lagging: deadLag, digest.Expired: deadExpired, digest.GivenUp: deadAttempts}
	a, why := h.groups.TakeOver(now, behind)
	if a == nil {
		return nil
	}
	return &parcel{aggregate: a, taken: a, dead: reasons[why], behind: behind}
}

func (h *grouped) take(now time.Time, _ int) *parcel { return parcelOf(h.groups.Take(now)) }

func (h *grouped) probe(now time.Time, distance int) *parcel {
	return parcelOf(h.groups.TakeBehind(now, distance))
}

func parcelOf(a *digest.Aggregate) *parcel {
	if a == nil {
		return nil
	}
	return &parcel{aggregate: a, taken: a}
}

func (h *grouped) suspects(since time.Time) (out []*parcel) {
	for _, a := range h.groups.TakeFailed(since) {
		out = append(out, parcelOf(a))
	}
	return out
}

func (h *grouped) done(out *parcel, now time.Time) {
	if out.taken != nil {
		h.groups.Done(out.taken, now)
	}
}

func (h *grouped) back(out *parcel, now time.Time) {
	a := out.aggregate
	if a == nil {
		h.skipped = append(h.skipped, out.skipped...)
		return
	}
	place := digest.First
	switch {
	case out.dead != "":
		place = digest.Window
	case out.probe:
		place = digest.Second
	}
	h.groups.Back(a, now, place)
}

func (h *grouped) due(now time.Time) (time.Time, bool) { return h.groups.Due(now) }

func (h *grouped) wake() time.Time { return h.groups.Wake() }

func (h *grouped) flush() { h.groups.Flush() }
