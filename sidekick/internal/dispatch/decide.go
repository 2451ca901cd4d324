package dispatch

import (
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/feed"
)

// testRule is the rule of FalcoSidekick's test event, which every output gets.
const testRule = "Test rule"

// Filter decides on single events. It is asked by several goroutines at once. Its
// error says that it cannot decide.
type Filter interface {
	Match(e *schema.Event) (bool, error)
}

// Why an event is not delivered to an output.
const (
	BelowMinimum = "below the minimum priority"
	FilteredOut  = "held back by the filter"
)

// Decide says why t does not get an event; "" when it does. Where the filter
// cannot decide, the event is delivered and err says what is wrong: a filter that
// does not fit an event must not make an alert vanish.
func (t *Target) Decide(e *schema.Event) (reason string, err error) {
	switch {
	case e.Falco != nil && e.Falco.Rule == testRule:
		return "", nil
	case e.Priority() < t.MinimumPriority:
		return BelowMinimum, nil
	case t.Filter == nil:
		return "", nil
	}
	matches, err := t.Filter.Match(e)
	if err == nil && !matches {
		return FilteredOut, nil
	}
	return "", err
}

// gate applies Decide and counts. Both streams of an output share it.
type gate struct {
	target     *Target
	report     reporter
	heldBack   prometheus.Counter
	undecided  prometheus.Counter
	log        *slog.Logger
	complained sync.Once
}

func (g *gate) passes(e *schema.Event) bool {
	reason, err := g.target.Decide(e)
	if err != nil {
		g.undecided.Inc()
		// Once: it would be the same for each event of a kind.
		g.complained.Do(func() {
			g.log.Warn("filter cannot decide on an event, which is delivered; further ones are only counted", "id", e.ID, "error", err)
		})
	}
	if reason != "" {
		g.heldBack.Inc()
		g.report.event(feed.Filtered, e.ID, reason)
	}
	return reason == ""
}
