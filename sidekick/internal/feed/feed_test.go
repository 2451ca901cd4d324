package feed

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/sidearmor/sidearmor/schema"
)

func numbers() *Log[int] { return newLog(func(n int) int { return n }) }

func TestLogHoldsWhatIsUnread(t *testing.T) {
	l := numbers()
	l.Add(100) // nobody is there yet
	fast, slow := l.Listen(), l.Listen()
	l.Add(1, 2, 3)
	read := func(r *Listener[int], want int) {
		t.Helper()
		if n, missed, err := r.Next(t.Context()); err != nil || n != want || missed != 0 {
			t.Errorf("got %d, %d missed, %v; want %d", n, missed, err, want)
		}
	}
	read(fast, 1)
	read(fast, 2)
	read(slow, 1)
	if len(l.held) != 2 {
		t.Errorf("%d are held, want 2 that one has not read", len(l.held))
	}
	if slow.Close() != 0 || len(l.held) != 1 {
		t.Errorf("%d are held, want 1: who left is not waited for", len(l.held))
	}
	late := l.Listen()
	l.Add(4)
	read(late, 4)
	read(fast, 3)
	l.End()
	l.Add(5)
	read(fast, 4)
	if n, _, err := fast.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v, %v", n, err)
	}
	if l.bytes != 0 || len(l.held) != 0 {
		t.Errorf("after all has been read %d bytes, %d items are held", l.bytes, len(l.held))
	}
	fast.Close()
	if late.Close(); l.Listening() {
		t.Error("somebody listens still")
	}
}

func TestLogIsBounded(t *testing.T) {
	for name, c := range map[string]struct{ size, sent, kept int }{
		"by number": {1, maxHeld + 7, maxHeld},
		"by bytes":  {maxHeldBytes / 3, 10, 3},
		"but one":   {maxHeldBytes + 1, 2, 1},
	} {
		l := numbers()
		one, other := l.Listen(), l.Listen()
		for range c.sent {
			l.Add(c.size)
		}
		if len(l.held) != c.kept {
			t.Errorf("%s: %d held, want %d", name, len(l.held), c.kept)
		}
		lost := c.sent - c.kept
		if _, missed, err := one.Next(t.Context()); missed != lost || err != nil || one.Missed() != lost {
			t.Errorf("%s: %d missed, %v, want %d", name, missed, err, lost)
		}
		if missed := other.Close(); missed != lost {
			t.Errorf("%s: who leaves is told of %d, want %d", name, missed, lost)
		}
		if c.kept > 1 {
			if _, missed, _ := one.Next(t.Context()); missed != 0 {
				t.Errorf("%s: told twice", name)
			}
		}
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := numbers().Listen()
	defer r.Close()
	if _, _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Whoever listens gets all, or knows how much it missed; and nobody waits for it.
func TestConcurrentListeners(t *testing.T) {
	const items, listeners = 50_000, 8
	l := newLog(func(int) int { return 1 })
	var running sync.WaitGroup
	for i := range listeners {
		r := l.Listen()
		running.Go(func() {
			defer r.Close()
			got, missed, next := 0, 0, 1
			for {
				n, gap, err := r.Next(t.Context())
				if err != nil {
					break
				}
				if got++; n != next+gap {
					t.Errorf("got %d with %d missed after %d", n, gap, next-1)
				}
				missed, next = missed+gap, n+1
			}
			if got+missed != items {
				t.Errorf("listener %d: got %d, missed %d", i, got, missed)
			}
		})
	}
	for n := range items {
		l.Add(n + 1)
	}
	l.End()
	running.Wait()
}

func TestAccepted(t *testing.T) {
	f := New()
	alerts, logs := f.Alerts.Listen(), f.Logs.Listen()
	defer alerts.Close()
	defer logs.Close()
	var packer schema.Packer
	var events []schema.Packed
	for _, body := range []string{
		`{"Type":"MatchedPolicy","PolicyName":"p","Operation":"File","Action":"Block"}`,
		`{"Type":"ContainerLog","Operation":"File"}`,
	} {
		p, err := packer.Pack([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		p.ID = body
		events = append(events, p)
	}
	f.Accepted(events)
	f.End()
	for kind, r := range map[schema.Kind]*Listener[*Event]{schema.KindAlert: alerts, schema.KindLog: logs} {
		shared, _, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if e, err := shared.Read(); err != nil || e.Kind != kind || e.ID != shared.ID {
			t.Errorf("%+v, %v", e, err)
		}
		if _, _, err := r.Next(t.Context()); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
}
