package queue

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/sidearmor/sidearmor/schema"
)

func TestBatchOf(t *testing.T) {
	for _, c := range []struct {
		id, key string
		index   int
	}{
		{"k-0", "k", 0},
		{"a-b-12", "a-b", 12},
		{"-7", "", 7},
		{"k", "k", 0},
		{"k-", "k-", 0},
		{"k-07", "k-07", 0},
		{"k-+7", "k-+7", 0},
		{"k-9999", "k", 9999},
		{"k-10000", "k-10000", 0},
		{"550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000", 0},
	} {
		if key, index := batchOf(c.id); key != c.key || index != c.index {
			t.Errorf("%s: %q, %d", c.id, key, index)
		}
	}
}

func TestBatchesAreBounded(t *testing.T) {
	b := newBatches()
	for i := range maxBatches + 100 {
		b.remember(fmt.Sprintf("k%d-%d", i, i%70))
	}
	if len(b.known) != maxBatches || len(b.order) != maxBatches {
		t.Errorf("%d and %d are kept", len(b.known), len(b.order))
	}
	if b.state(hashKey("k0")).has(0) || !b.state(hashKey("k110")).has(110%70) {
		t.Error("not the oldest were forgotten")
	}
	for i := range 3 * maxBitmapWords / (maxIndex / 64) {
		b.remember(fmt.Sprintf("large%d-%d", i, maxIndex-1))
	}
	words := 0
	for _, s := range b.known {
		words += len(s.stored)
	}
	if words != b.words || words > maxBitmapWords+maxIndex/64+1 {
		t.Errorf("%d words are kept, %d counted", words, b.words)
	}
}

// A sender has no answer about a batch of which the store took a part.
func TestBatchOfUnknownFate(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	publish(t, q, alerts(0, 3))
	state, err := q.batches.begin(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	state.stored, state.unsure = nil, true
	q.batches.end(state)
	publish(t, q, alerts(0, 5))
	r := reader(t, q, "slack", Alerts)
	if got := take(t, r, 5, true); !slices.Equal(got, ids(0, 5)) {
		t.Errorf("got %v", got)
	}
	none(t, q, r)
	if state.unsure {
		t.Error("it is still unsure")
	}
}

// The store gives up in the middle of a batch: what it has of it when it is back
// is not stored again.
func TestStoreStopsWithinBatch(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	publish(t, q, alerts(0, 2))
	if err := q.srv.ShutdownJetStream(); err != nil {
		t.Fatal(err)
	}
	if err := q.Publish(t.Context(), pack(alerts(0, 4)...), true); err == nil {
		t.Error("events are taken without a store")
	}
	q.revive()
	publish(t, q, alerts(0, 4))
	r := reader(t, q, "slack", Alerts)
	if got := take(t, r, 4, true); !slices.Equal(got, ids(0, 4)) {
		t.Errorf("got %v", got)
	}
	none(t, q, r)
}

// A full stream takes some events of a batch, by their size; those it refused are
// taken later and the others are not stored twice.
func TestPartOfBatchIsRefused(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir(), LogBytes: 3 << 20})
	r := reader(t, q, "slack", Logs)
	batch := []schema.Event{logEvent("b-0", 1<<20), logEvent("b-1", 1<<20), logEvent("b-2", 1900<<10), logEvent("b-3", 1<<10)}
	var p *PublishError
	if err := q.Publish(t.Context(), pack(batch...), true); !errors.As(err, &p) || len(p.Failed) != 1 || p.Failed[2] == nil {
		t.Fatalf("error %v", err)
	}
	if got := take(t, r, 3, true); !slices.Equal(got, []string{"b-0", "b-1", "b-3"}) {
		t.Errorf("got %v", got)
	}
	s, err := q.js.Stream(t.Context(), string(Logs))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, q, batch)
	if got := take(t, r, 1, true); got[0] != "b-2" {
		t.Errorf("got %v", got)
	}
	if s := state(t, q, string(Logs)); s.LastSeq != 4 {
		t.Errorf("%d were stored", s.LastSeq)
	}
}
