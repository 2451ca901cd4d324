package queue

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

// Where an output keeps up, the oldest events leave the backlog of the others before
// the stream is full; where none does, nothing leaves.
func TestBacklogIsBounded(t *testing.T) {
	for _, up := range []bool{true, false} {
		t.Run(fmt.Sprint(up), func(t *testing.T) {
			q := open(t, Options{Dir: t.TempDir(), LogBytes: 8 << 20})
			slow, fast := reader(t, q, "slow", Logs), reader(t, q, "fast", Logs)
			_, changed := slow.Behind()
			const n = 34 // of 200 KiB: more than three quarters
			for i := range n {
				publish(t, q, []schema.Event{logEvent(fmt.Sprint("l", i), 200<<10)})
			}
			if up {
				take(t, fast, n, true)
			}
			tr := &trimmer{q: q, stream: Logs}
			if err := tr.trim(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
			upTo, _ := slow.Behind()
			if up != (upTo > 0 && upTo < n/2) {
				t.Errorf("slow is to leave up to %d", upTo)
			}
			select {
			case <-changed:
			default:
				if up {
					t.Error("nobody was told")
				}
			}
			if upTo, _ := fast.Behind(); !up && upTo != 0 {
				t.Errorf("fast is to leave up to %d", upTo)
			}
			if !up {
				return
			}
			// What left and was acknowledged makes room.
			take(t, slow, int(upTo), true)
			if err := tr.trim(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
			if s := state(t, q, string(Logs)); s.FirstSeq != upTo+1 || q.pressure[Logs].leaving.Load() {
				t.Errorf("first is %d, want %d", s.FirstSeq, upTo+1)
			}
		})
	}
}

// Logs are refused first: while alerts have no room, and where the disk is tight.
func TestLogsAreRefusedFirst(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	s := Store{Queue: q}
	q.pressure[Alerts].full.Store(true)
	err := s.Publish(t.Context(), pack(logEvent("l", 10), alert("a"), logEvent("m", 10)), false)
	refused, ok := errors.AsType[*PublishError](err)
	if !ok || len(refused.Failed) != 2 || !errors.Is(refused.Failed[0], ErrFull) || !errors.Is(refused.Failed[2], ErrFull) {
		t.Errorf("got %v", err)
	}
	if n := state(t, q, string(Alerts)).Msgs; n != 1 || q.refusedLogs.Load() != 2 {
		t.Errorf("%d alerts stored, %d logs refused", n, q.refusedLogs.Load())
	}
	q.pressure[Alerts].full.Store(false)
	if err := s.Publish(t.Context(), pack(logEvent("l", 10)), false); err != nil {
		t.Error(err)
	}
}

// A dead letter that is kept only where there is room does not displace others.
func TestSpareLetters(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	if kept, err := q.Spare(t.Context(), "x", "lag", time.Now(), alert("a")); err != nil || !kept {
		t.Errorf("kept %v, error %v", kept, err)
	}
	q.spare.free = 0
	if kept, err := q.Spare(t.Context(), "x", "lag", time.Now(), alert("b")); err != nil || kept {
		t.Errorf("without room: kept %v, error %v", kept, err)
	}
	if n := state(t, q, deadLetters).Msgs; n != 1 {
		t.Errorf("%d dead letters", n)
	}
}
