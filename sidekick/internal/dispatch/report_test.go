package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/sidekick/internal/feed"
)

// ends gives what became of each event at each output, as one who listens finds out.
func ends(t *testing.T, r *feed.Listener[feed.Outcome]) map[string]feed.What {
	t.Helper()
	ends, groups := map[string]feed.What{}, map[uint64][]string{}
	for {
		o, missed, err := r.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return ends
		}
		if err != nil || missed > 0 || o.Time.IsZero() {
			t.Fatalf("%+v, %d missed, %v", o, missed, err)
		}
		ids := o.IDs
		if o.What == feed.Aggregated {
			groups[o.Groups[0]] = append(groups[o.Groups[0]], ids...)
		} else {
			for _, g := range o.Groups {
				ids = append(ids, groups[g]...)
			}
			if o.What != feed.Failed && o.Count != len(ids) {
				t.Errorf("%+v is about %d events", o, len(ids))
			}
		}
		for _, id := range ids {
			ends[o.Output+"/"+id] = o.What
		}
	}
}

// The feed is told of each event at each output, whichever way it goes.
func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		happened := feed.New()
		listener := happened.Outcomes.Listen()
		defer listener.Close()
		refuses := &service{reply: func(_ int, ids []string) error {
			if ids[0] == "e3" {
				return &outputs.Error{Class: outputs.Permanent, Err: errors.New("no")}
			}
			return nil
		}}
		outage := &chat{reply: func(n int, _ told) error {
			if n < 5 {
				return &outputs.Error{Class: outputs.Transient, Err: errors.New("down")}
			}
			return nil
		}}
		events := reads(100, 3)
		choosy := single("choosy", &service{}, newMemory(events...), nil)
		choosy.Filter = matching(func(id string) (bool, error) { return id == "e1", nil })
		late := newMemory(events[:50]...)
		d := New(Options{
			Targets: []Target{single("refuses", refuses, newMemory(events...), nil), choosy, chatTarget(outage, late)}, DeadLetters: &letters{},
			Outcomes: happened.Outcomes, Metrics: prometheus.NewRegistry(), StopTimeout: 5 * time.Second, Log: slog.New(slog.DiscardHandler),
		})
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { d.Run(ctx); close(done) }()
		time.Sleep(3 * time.Second)
		late.add(events[50:]...)
		time.Sleep(10 * time.Minute)
		cancel()
		<-done
		happened.End()
		got := ends(t, listener)
		for i := range events {
			id := fmt.Sprint("e", i)
			want := map[string]feed.What{"refuses": feed.Delivered, "choosy": feed.Filtered, "slack": feed.Delivered}
			switch id {
			case "e1":
				want["choosy"] = feed.Delivered
			case "e3":
				want["refuses"] = feed.DeadLetter
			}
			for output, what := range want {
				if got[output+"/"+id] != what {
					t.Errorf("%s at %s: %q, want %q", id, output, got[output+"/"+id], what)
				}
			}
		}
		if _, told := outage.got(); told != len(events) || outage.attempts < 6 {
			t.Errorf("%d told in %d attempts", told, outage.attempts)
		}
	})
}
