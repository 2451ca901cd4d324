package queue

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"
)

func TestEventOnceMore(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	publish(t, q, alerts(0, 3))
	r := reader(t, q, "slack", Alerts)
	for range 3 {
		e, size, seq, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		again, sizeAgain, err := r.Event(t.Context(), seq)
		if err != nil || again.ID != e.ID || sizeAgain != size {
			t.Errorf("%d: %s of %d bytes, then %s of %d, %v", seq, e.ID, size, again.ID, sizeAgain, err)
		}
	}
	if _, _, err := r.Event(t.Context(), 99); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}

// A reader that gives up waiting again and again misses nothing.
func TestImpatientReaderMissesNothing(t *testing.T) {
	const n = 2000
	q := open(t, Options{Dir: t.TempDir()})
	r := reader(t, q, "slack", Alerts)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range n / 10 {
			publish(t, q, alerts(i*10, (i+1)*10))
		}
	}()
	var next uint64
	for next < n {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Microsecond)
		_, _, seq, err := r.Next(ctx)
		cancel()
		if err != nil {
			continue
		}
		if next++; seq != next {
			t.Fatalf("event %d follows %d", seq, next-1)
		}
	}
	<-done
}
