package queue

import (
	"fmt"
	"log/slog"
	"slices"
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
	if n := waiting(t, q, "slack"); n != 1 {
		t.Errorf("%d requests wait at the store", n)
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

// What gets lost between the store and its reader comes all the same.
func TestDroppedOnTheWay(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	r := reader(t, q, "slack", Alerts)
	publish(t, q, alerts(0, 20))
	take(t, r, 5, true)
	if _, err := r.pull.sub.NextMsg(time.Second); err != nil { // nobody sees this one
		t.Fatal(err)
	}
	var want []string
	for i := 5; i < 20; i++ {
		want = append(want, fmt.Sprintf("a-%d", i))
	}
	if got := take(t, r, 15, true); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}
