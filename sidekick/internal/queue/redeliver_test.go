package queue

import (
	"slices"
	"testing"
	"time"
)

// What is to come again does so although its stream is purged meanwhile, which makes
// the server forget it; and nothing of ours purges it at that time.
func TestRedeliveryAndPurge(t *testing.T) {
	const n, acked = 3 * pullEvents, 10
	dir := t.TempDir()
	q := open(t, Options{Dir: dir})
	publish(t, q, alerts(0, n))
	r := reader(t, q, "slack", Alerts)
	take(t, r, acked, true)
	take(t, r, n-acked, false)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = open(t, Options{Dir: dir})
	r = reader(t, q, "slack", Alerts)
	if !q.redelivering(Alerts) {
		t.Error("nothing is to come again")
	}
	r.mu.Lock()
	r.redelivery.since = time.Now().Add(time.Hour) // however slow this machine is
	r.mu.Unlock()
	tr := &trimmer{q: q, stream: Alerts}
	for _, after := range []time.Duration{0, duplicateWindow + time.Second} {
		if err := tr.trim(t.Context(), time.Now().Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	if first := state(t, q, string(Alerts)).FirstSeq; first != 1 {
		t.Errorf("the first is %d, something was removed", first)
	}
	stream, err := q.js.Stream(t.Context(), string(Alerts))
	if err != nil {
		t.Fatal(err)
	}
	if err := purge(t.Context(), stream, acked); err != nil {
		t.Fatal(err)
	}
	got := take(t, r, n-acked, true)
	slices.Sort(got)
	want := ids(acked, n)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %d events, %v", len(got), got)
	}
	for end := time.Now().Add(20 * time.Second); q.redelivering(Alerts); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it still waits for what came")
		}
	}
	if left, err := r.Pending(t.Context()); left != 0 || err != nil {
		t.Errorf("%d are pending, %v", left, err)
	}
	none(t, q, r)
}
