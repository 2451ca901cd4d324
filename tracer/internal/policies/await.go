package policies

import (
	"context"
	"fmt"
	"strings"
	"time"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// Await waits until the documents of every expected source are there and it is
// known of every policy whether it selects this container; not at all where
// nothing is missing. After timeout, with runAnyway, it says in the log what is
// missing and gives nil: what becomes known later still applies. Without, the
// error says what is missing and how to have it otherwise. Else the error is
// ctx's.
func (h *Hub) Await(ctx context.Context, timeout time.Duration, runAnyway bool) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for first := true; ; first = false {
		missing, changed := h.missing()
		if len(missing) == 0 {
			return nil
		}
		if first {
			h.log.Info("the start waits for what policies depend on", "missing", missing, "at_most", timeout.String())
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			if runAnyway {
				h.log.Warn("the workload starts without policies that may be meant for it", "missing", missing, "after", timeout.String())
				return nil
			}
			return fmt.Errorf("after %s the policies for this container are not known: %s. The workload was not started: wait longer with --policy-timeout (TRACER_POLICY_TIMEOUT), or start it all the same with --on-missing-policy=run (TRACER_ON_MISSING_POLICY)",
				timeout, strings.Join(missing, "; "))
		}
	}
}

// missing says what is not known yet, and gives what is closed at the next change.
func (h *Hub) missing() (what []string, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sources {
		if !s.delivered {
			what = append(what, "the policies from "+s.name)
		}
	}
	docs, _ := h.merge()
	for i := range docs {
		if pending := docs[i].Awaits(h.target); pending != 0 {
			what = append(what, fmt.Sprintf("policy %s (%s) selects by %s", keyOf(&docs[i]), docs[i].Origin, awaited(h.target, pending)))
		}
	}
	return what, h.changed
}

// awaited names pending facts, each with what it is awaited from.
func awaited(t spolicy.Target, pending spolicy.Facts) string {
	var all []string
	for _, fact := range []spolicy.Facts{spolicy.FactNamespace, spolicy.FactContainer, spolicy.FactLabels} {
		if pending&fact == 0 {
			continue
		}
		text := fact.String()
		if from := t.From.Of(fact); from != "" {
			text += " from " + from
		}
		all = append(all, text)
	}
	return strings.Join(all, " and ") + ", not known yet"
}
