package queue

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/sidearmor/sidearmor/schema"
)

// large are n alerts of some 200 KiB.
func large(from, n int) []schema.Event {
	events := alerts(from, from+n)
	for i := range events {
		events[i].Alert.Resource = strings.Repeat("x", 200<<10)
	}
	return events
}

// drive publishes n large alerts and has them delivered, if it says so, and gives
// the number of those that were refused.
func drive(t *testing.T, q *Queue, n int, deliver bool) (refused int) {
	t.Helper()
	r := reader(t, q, "slack", Alerts)
	for i := range n {
		err := q.Publish(t.Context(), pack(large(i, 1)...), false)
		switch {
		case errors.Is(err, ErrFull):
			refused++
		case err != nil:
			t.Fatal(err)
		case deliver:
			take(t, r, 1, true)
		}
	}
	return refused
}

// What every output has gives way to what is new, when the stream or the disk would
// have no room for it else.
func TestDeliveredMakeRoom(t *testing.T) {
	const limit = 4 << 20 // some 20 of them
	for _, c := range []struct {
		name    string
		disk    bool // is what is full, not the stream
		deliver bool
	}{
		{"stream, delivered", false, true},
		{"stream, not delivered", false, false},
		{"disk, delivered", true, true},
		{"disk, not delivered", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			options := Options{Dir: t.TempDir(), AlertBytes: limit}
			if c.disk {
				options.AlertBytes = 100 * limit
			}
			q := open(t, options)
			if c.disk {
				q.free = func(string) (uint64, error) {
					s, err := q.js.Stream(t.Context(), string(Alerts))
					if err != nil {
						return 0, err
					}
					return tightDisk + limit - min(limit+tightDisk, 4*s.CachedInfo().State.Bytes), nil
				}
			}
			refused := drive(t, q, 60, c.deliver)
			if c.deliver && refused > 0 || !c.deliver && refused == 0 {
				t.Errorf("%d of 60 were refused", refused)
			}
		})
	}
}

// A batch that does not fit as a whole is stored in its order, and once.
func TestRoomForABatch(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir(), AlertBytes: 4 << 20})
	r := reader(t, q, "slack", Alerts)
	if err := q.Publish(t.Context(), pack(large(0, 15)...), true); err != nil {
		t.Fatal(err)
	}
	take(t, r, 15, true)
	if err := q.Publish(t.Context(), pack(large(15, 15)...), true); err != nil {
		t.Fatal(err)
	}
	for i, id := range take(t, r, 15, true) {
		if want := fmt.Sprint("a-", 15+i); id != want {
			t.Errorf("got %s, want %s", id, want)
		}
	}
}

// Without outputs the newest stay.
func TestRoomWithoutOutputs(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir(), AlertBytes: 4 << 20})
	for i := range 60 {
		if err := q.Publish(t.Context(), pack(large(i, 1)...), false); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	s := state(t, q, string(Alerts))
	if s.LastSeq != 60 || s.Msgs < 5 || s.Msgs > 25 {
		t.Errorf("%d are left, the last is %d", s.Msgs, s.LastSeq)
	}
}

// Many who store at a time wait for room together.
func TestRoomForMany(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir(), AlertBytes: 16 << 20})
	var storing sync.WaitGroup
	for k := range 8 {
		storing.Go(func() {
			for i := range 30 {
				if err := q.Publish(t.Context(), pack(large(1000*k+i, 1)...), false); err != nil {
					t.Errorf("event %d of %d: %v", i, k, err)
					return
				}
			}
		})
	}
	storing.Wait()
}

func TestWarnOfVolume(t *testing.T) {
	var log bytes.Buffer
	q := open(t, Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	log.Reset()
	for _, c := range []struct {
		free int64
		want string
	}{
		{1 << 40, ""},
		{defaultBytes + deadLetterBytes + lowDisk, ""},
		{96 << 20, "volume_bytes=100663296 needs_bytes=503316480"},
	} {
		q.free = func(string) (uint64, error) { return uint64(c.free), nil }
		q.warnOfVolume(t.Context())
		if got := log.String(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%d bytes are free: %q", c.free, got)
		}
	}
}
