package queue

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
)

func state(t *testing.T, q *Queue, stream string) jetstream.StreamState {
	t.Helper()
	s, err := q.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}

func TestTrimKeepsDuplicateWindow(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	publish(t, q, alerts(0, 10))
	slack, discord := reader(t, q, "slack", Alerts), reader(t, q, "discord", Alerts)
	take(t, slack, 8, true)
	take(t, discord, 6, true)
	tr := &trimmer{q: q, stream: Alerts}
	start := time.Now()
	for _, c := range []struct {
		after time.Duration
		first uint64
	}{
		{0, 1},
		{duplicateWindow, 1},
		{duplicateWindow + 2*time.Second, 7}, // what discord has yet to get stays
	} {
		if err := tr.trim(t.Context(), start.Add(c.after)); err != nil {
			t.Fatal(err)
		}
		if s := state(t, q, string(Alerts)); s.FirstSeq != c.first {
			t.Errorf("after %v the first is %d, want %d", c.after, s.FirstSeq, c.first)
		}
	}
}

func TestTrimBySize(t *testing.T) {
	for _, c := range []struct {
		name    string
		outputs bool
	}{{"delivered", true}, {"no outputs", false}} {
		t.Run(c.name, func(t *testing.T) {
			q := open(t, Options{Dir: t.TempDir(), LogBytes: 8 << 20})
			const n = 30
			for i := range n {
				publish(t, q, []schema.Event{logEvent(fmt.Sprint("l", i), 200<<10)})
			}
			if c.outputs {
				take(t, reader(t, q, "webhook", Logs), n, true)
			}
			tr := &trimmer{q: q, stream: Logs}
			for range 3 {
				if err := tr.trim(t.Context(), time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			s := state(t, q, string(Logs))
			if s.Bytes > 3<<20 || s.Bytes < 1<<20 || s.LastSeq != n {
				t.Errorf("%d bytes are left, last is %d", s.Bytes, s.LastSeq)
			}
		})
	}
}

func TestTrimKeepsUndelivered(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir(), LogBytes: 8 << 20})
	for i := range 30 {
		publish(t, q, []schema.Event{logEvent(fmt.Sprint("l", i), 200<<10)})
	}
	reader(t, q, "webhook", Logs)
	tr := &trimmer{q: q, stream: Logs}
	for _, after := range []time.Duration{0, time.Hour, 2 * time.Hour} {
		if err := tr.trim(t.Context(), time.Now().Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	if s := state(t, q, string(Logs)); s.Msgs != 30 {
		t.Errorf("%d of 30 are left", s.Msgs)
	}
}

func TestDeliveredBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &trimmer{q: &Queue{history: newHistory(Options{})}}
		for seq := range uint64(10 * 60) { // ten minutes, one message a second
			tr.mark(time.Now(), seq)
			time.Sleep(time.Second)
		}
		if got := tr.deliveredBefore(time.Now().Add(-duplicateWindow)); got != 10*60-1-120 {
			t.Errorf("delivered two minutes ago: %d", got)
		}
		if len(tr.marks) > 123 {
			t.Errorf("%d marks are kept", len(tr.marks))
		}
	})
}
