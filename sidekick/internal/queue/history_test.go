package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

// since gives the IDs of the events that were stored since a time.
func since(t *testing.T, q *Queue, from time.Time) (got []string) {
	t.Helper()
	err := q.Since(t.Context(), from, func(e schema.Event) error {
		got = append(got, e.ID)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSince(t *testing.T) {
	for _, n := range []int{0, 1, 2 * pullEvents} {
		q := open(t, Options{Dir: t.TempDir()})
		var want []string
		for i := range n {
			publish(t, q, alerts(i, i+1))
			publish(t, q, []schema.Event{logEvent(fmt.Sprint("l-", i), 10)})
			want = append(want, fmt.Sprint("a-", i), fmt.Sprint("l-", i))
		}
		take(t, reader(t, q, "slack", Alerts), n, true)
		if got := since(t, q, time.Now().Add(-time.Hour)); !slices.Equal(got, want) {
			t.Errorf("of %d: got %d, %v", n, len(got), got)
		}
		if n == 0 {
			continue
		}
		stream, err := q.js.Stream(t.Context(), string(Logs))
		if err != nil {
			t.Fatal(err)
		}
		last, err := stream.GetMsg(t.Context(), uint64(n))
		if err != nil {
			t.Fatal(err)
		}
		if got := since(t, q, last.Time); !slices.Equal(got, want[len(want)-1:]) {
			t.Errorf("of %d, since the last: got %v", n, got)
		}
		if got := since(t, q, time.Now().Add(time.Hour)); len(got) > 0 {
			t.Errorf("of %d, of the future: got %v", n, got)
		}
		if names := stream.ConsumerNames(t.Context()); len(names.Name()) > 0 {
			t.Errorf("%s is left", <-names.Name())
		}
	}
}

// Reading ends with its caller, and with what it was to read.
func TestSinceEnds(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	publish(t, q, alerts(0, 3*pullEvents))
	enough := errors.New("enough")
	if err := q.Since(t.Context(), time.Time{}, func(schema.Event) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := q.Since(ctx, time.Time{}, func(schema.Event) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	stream, err := q.js.Stream(t.Context(), string(Alerts))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = q.Since(t.Context(), time.Time{}, func(schema.Event) error {
		if n++; n == 1 {
			return purge(t.Context(), stream, 3*pullEvents-1)
		}
		return nil
	})
	if err != nil || n > 3*pullEvents {
		t.Errorf("%d events, %v", n, err)
	}
}

// Events that come while others are read are neither waited for nor held up.
func TestSinceDuringFlood(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	publish(t, q, alerts(0, 100))
	var storing sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	storing.Go(func() {
		for i := 100; ctx.Err() == nil; i++ {
			if err := q.Publish(context.WithoutCancel(ctx), pack(alerts(i, i+1)...), false); err != nil {
				t.Error(err)
			}
		}
	})
	for range 3 {
		if got := since(t, q, time.Time{}); len(got) < 100 || !slices.Equal(got[:100], ids(0, 100)) {
			t.Errorf("got %d events", len(got))
		}
	}
	stop()
	storing.Wait()
}

// Delivered events stay for as long as they may, in the space that they may take, and
// both streams share it.
func TestHistoryIsBounded(t *testing.T) {
	const size = 100 << 10
	q := open(t, Options{Dir: t.TempDir(), LogBytes: 64 << 20, History: History{MaxAge: time.Hour, MaxBytes: 20 * size}})
	slack, logs := reader(t, q, "slack", Alerts), reader(t, q, "slack", Logs)
	for i := range 40 {
		publish(t, q, []schema.Event{logEvent(fmt.Sprint("l-", i), size)})
	}
	take(t, logs, 40, true)
	publish(t, q, alerts(0, 5))
	take(t, slack, 3, true)
	tl, ta := &trimmer{q: q, stream: Logs}, &trimmer{q: q, stream: Alerts}
	start := time.Now()
	for _, c := range []struct {
		after               time.Duration
		leastLogs, mostLogs uint64
		alerts              uint64
	}{
		{0, 40, 40, 5},
		{duplicateWindow, 40, 40, 5},
		{duplicateWindow + 2*time.Second, 15, 20, 5},
		{time.Hour, 15, 20, 5},
		{time.Hour + duplicateWindow, 0, 0, 2},
	} {
		for _, tr := range []*trimmer{ta, tl} {
			if err := tr.trim(t.Context(), start.Add(c.after)); err != nil {
				t.Fatal(err)
			}
		}
		l, a := state(t, q, string(Logs)), state(t, q, string(Alerts))
		if l.Msgs < c.leastLogs || l.Msgs > c.mostLogs || a.Msgs != c.alerts {
			t.Errorf("after %v: %d logs, %d alerts, want %+v", c.after, l.Msgs, a.Msgs, c)
		}
	}
}

// A queue that is nearly full of history takes as much as an empty one.
func TestHistoryGivesWay(t *testing.T) {
	const n, size = 60, 200 << 10
	q := open(t, Options{Dir: t.TempDir(), LogBytes: 8 << 20, History: History{MaxAge: time.Hour, MaxBytes: 1 << 30}})
	logs := reader(t, q, "slack", Logs)
	for i := range n {
		publish(t, q, []schema.Event{logEvent(fmt.Sprint("l-", i), size)})
		take(t, logs, 1, true)
	}
	if q.refusedLogs.Load() != 0 {
		t.Errorf("%d are refused", q.refusedLogs.Load())
	}
}
