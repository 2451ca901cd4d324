package queue

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sidearmor/sidearmor/schema"
)

// mixed is a batch of alerts and logs in turn.
func mixed(key string, n int) []schema.Event {
	events := make([]schema.Event, 0, n)
	for i := range n {
		id := fmt.Sprintf("%s-%d", key, i)
		if i%2 == 0 {
			events = append(events, alert(id))
		} else {
			events = append(events, logEvent(id, 10))
		}
	}
	return events
}

// all gives the IDs of what is in a stream.
func all(t *testing.T, q *Queue, s Stream) []string {
	t.Helper()
	r := reader(t, q, "all-"+strings.ToLower(string(s)), s)
	return take(t, r, int(state(t, q, string(s)).Msgs), false)
}

func TestCommit(t *testing.T) {
	dir := t.TempDir()
	q := open(t, Options{Dir: dir})
	events := mixed("a", 2*chunk+20)
	var want [2][]string
	for i := range events {
		want[i%2] = append(want[i%2], events[i].ID)
	}
	for range 2 { // the second time nothing is stored
		publish(t, q, events)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = open(t, Options{Dir: dir})
	publish(t, q, events)
	for n, s := range []Stream{Alerts, Logs} {
		if got := all(t, q, s); !slices.Equal(got, want[n]) {
			t.Errorf("%s: %d events, want %d: %v", s, len(got), len(want[n]), got)
		}
	}
	if !q.alerts.paused.IsZero() || !q.logs.paused.IsZero() {
		t.Error("rows were not stored whole")
	}
}

// A full stream refuses some events in the middle of a row, or its first or last.
func TestCommitIsRefusedInPart(t *testing.T) {
	for _, large := range [][]int{{4, 5, 6, 7}, {0, 1, 2}, {8, 9, 10, 11}, {0, 1, 11}} {
		q := open(t, Options{Dir: t.TempDir(), LogBytes: 3 << 20})
		reader(t, q, "slack", Logs) // without, the newest would displace the others
		batch := make([]schema.Event, 12)
		for i := range batch {
			size := 1 << 10
			if slices.Contains(large, i) {
				size = 1900 << 10 // of which one fits
			}
			batch[i] = logEvent(fmt.Sprintf("b-%d", i), size)
		}
		var p *PublishError
		if err := q.Publish(t.Context(), pack(batch...), true); !errors.As(err, &p) || !errors.Is(err, ErrFull) || !slices.Equal(p.indexes(), large[1:]) {
			t.Fatalf("large %v: %v", large, err)
		}
		if got := state(t, q, string(Logs)).LastSeq; got != uint64(len(batch)-len(large)+1) {
			t.Errorf("large %v: %d are stored", large, got)
		}
		stream, err := q.js.Stream(t.Context(), string(Logs))
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := q.Publish(t.Context(), pack(batch...), true); err == nil {
			continue
		}
		for i := range large[1:] {
			if _, ok := p.Failed[large[1+i]]; !ok {
				t.Errorf("large %v: refused again: %v", large, p)
			}
		}
	}
}

func TestCommitTooLarge(t *testing.T) {
	for _, at := range []int{0, 5, 11} {
		q := open(t, Options{Dir: t.TempDir()})
		batch := make([]schema.Event, 12)
		for i := range batch {
			batch[i] = logEvent(fmt.Sprintf("b-%d", i), 10)
		}
		batch[at] = logEvent(batch[at].ID, MaxMessageBytes)
		err := q.Publish(t.Context(), pack(batch...), true)
		var p *PublishError
		if _, large := errors.AsType[*TooLargeError](err); !large || !errors.As(err, &p) || !slices.Equal(p.indexes(), []int{at}) {
			t.Errorf("%d: %v", at, err)
		}
		if got := all(t, q, Logs); len(got) != 11 || slices.Contains(got, batch[at].ID) {
			t.Errorf("%d: stored %v", at, got)
		}
	}
}

// Answers that are missing, or of another row, make nobody lose or repeat events.
func TestCommitWithoutAnswers(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	if err := q.conn.Publish(q.alerts.inbox+".0", []byte(`{"stream":"ALERTS","seq":77}`)); err != nil {
		t.Fatal(err)
	}
	publish(t, q, alerts(0, 20))
	if err := q.alerts.answers.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	publish(t, q, alerts(0, 40))
	publish(t, q, alerts(0, 60)) // one by one, after what went wrong
	if got := all(t, q, Alerts); !slices.Equal(got, ids(0, 60)) {
		t.Errorf("got %v", got)
	}
}

// The store gives up within a row: what it has when it is back is not stored again.
func TestStoreStopsWithinCommit(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	publish(t, q, alerts(0, 20))
	if err := q.srv.ShutdownJetStream(); err != nil {
		t.Fatal(err)
	}
	var p *PublishError
	if err := q.Publish(t.Context(), pack(alerts(0, 40)...), true); !errors.As(err, &p) || len(p.Failed) != 20 {
		t.Errorf("without a store: %v", err)
	}
	q.revive()
	publish(t, q, alerts(0, 40))
	if got := all(t, q, Alerts); !slices.Equal(got, ids(0, 40)) {
		t.Errorf("got %v", got)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if err := q.Publish(t.Context(), pack(alerts(40, 60)...), false); !errors.As(err, &p) || len(p.Failed) != 20 {
		t.Errorf("after the end: %v", err)
	}
}

// Rows and single events of several senders come each in its own order.
func TestCommitsAtOnce(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	const senders, rounds = 12, 20
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for r := range rounds {
				n := 1 + 19*(s%2)
				if err := q.Publish(t.Context(), pack(mixed(fmt.Sprintf("%d.%d", s, r), n)...), s%3 == 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	want := senders / 2 * rounds * (1 + 20)
	got := append(all(t, q, Alerts), all(t, q, Logs)...)
	if len(got) != want {
		t.Errorf("%d events, want %d", len(got), want)
	}
	slices.Sort(got)
	if len(slices.Compact(got)) != want {
		t.Error("some are stored twice")
	}
	if !q.alerts.paused.IsZero() || !q.logs.paused.IsZero() {
		t.Error("rows were not stored whole")
	}
}

func TestBodyID(t *testing.T) {
	for _, id := range []string{"", "a-1", `q"\<-2`, "é-3"} {
		e := alert(id)
		text, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if got := bodyID(text); got != id {
			t.Errorf("%q: %q", id, got)
		}
	}
	for body, want := range map[string]string{
		"": "", "{": "", `{"id":"a-1`: "", `{"id":"\x"}`: "", `{"kind":"log"}`: "",
		`{"id":"a-1"}`: "a-1", `{"id":"k-9999"}`: "k-9999", `{"id":"k-10000"}`: "", `{"id":"k-01"}`: "", `{"id":"k-"}`: "", `{"id":"-0"}`: "-0",
		`{"id":"7f2c6c1e-6d0b-4a53-9a3e-000000001234"}`: "", `{"id":"x"}`: "",
	} {
		if got := batchID([]byte(body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}
