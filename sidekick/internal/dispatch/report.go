package dispatch

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/sidearmor/sidearmor/sidekick/internal/digest"
	"github.com/sidearmor/sidearmor/sidekick/internal/feed"
)

// reporter tells the feed what became of events at one output. The zero reporter
// tells nobody.
type reporter struct {
	output string
	log    *feed.Log[feed.Outcome] // nil for nobody
	groups *atomic.Uint64          // the last number of a group, of all outputs
}

// group gives the number of a new group.
func (r reporter) group() uint64 {
	if r.groups == nil {
		return 0
	}
	return r.groups.Add(1)
}

// wanted says whether somebody listens: else there is nothing to be made.
func (r reporter) wanted() bool { return r.log != nil && r.log.Listening() }

func (r reporter) add(o feed.Outcome) {
	o.Time, o.Output = time.Now(), r.output
	r.log.Add(o)
}

// event tells of one event; id is "" where the event is not known any more.
func (r reporter) event(what feed.What, id, reason string) {
	if !r.wanted() {
		return
	}
	o := feed.Outcome{What: what, Count: 1, Reason: reason}
	if id != "" {
		o.IDs = []string{id}
	}
	r.add(o)
}

// aggregated tells that an event is counted in a message to be sent.
func (r reporter) aggregated(id string, group uint64) {
	if r.wanted() {
		r.add(feed.Outcome{What: feed.Aggregated, IDs: []string{id}, Groups: []uint64{group}, Count: 1})
	}
}

func (r reporter) items(what feed.What, items []item, reason string) {
	if !r.wanted() || len(items) == 0 {
		return
	}
	o := feed.Outcome{What: what, Count: len(items), Reason: reason, IDs: make([]string, len(items))}
	for i := range items {
		o.IDs[i] = items[i].Event.ID
	}
	r.add(o)
}

// aggregate tells of all events of a message.
func (r reporter) aggregate(what feed.What, a *digest.Aggregate, reason string) {
	if r.wanted() {
		r.add(feed.Outcome{What: what, Count: a.Count, Reason: reason, Groups: slices.Clone(a.IDs)})
	}
}

// parcel tells of what is left of one.
func (r reporter) parcel(what feed.What, p *parcel, reason string) {
	r.items(what, p.items, reason)
	if p.aggregate != nil {
		r.aggregate(what, p.aggregate, reason)
	}
}
