package queue

import (
	"testing"
	"time"
)

// A request is made when the one before has brought all that it will, so that no
// more comes than was asked for at once.
func TestOneRequestAtATime(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	r := reader(t, q, "slack", Alerts)
	for i := range 4 {
		publish(t, q, alerts(i*pullEvents, (i+1)*pullEvents))
	}
	take(t, r, 4*pullEvents, false)
	publish(t, q, alerts(4*pullEvents, 4*pullEvents+1))
	take(t, r, 1, false)
	for end := time.Now().Add(20 * time.Second); waiting(t, q, "slack") != 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d requests wait at the store", waiting(t, q, "slack"))
		}
	}
}

func waiting(t *testing.T, q *Queue, output string) int {
	t.Helper()
	stream, err := q.js.Stream(t.Context(), string(Alerts))
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.Consumer(t.Context(), output)
	if err != nil {
		t.Fatal(err)
	}
	return consumer.CachedInfo().NumWaiting
}
