package grpcapi

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	pb "github.com/kubearmor/KubeArmor/protobuf"
)

func number(n int) *pb.Alert { return &pb.Alert{PID: int32(n)} }

func TestFeedHoldsWhatIsUnread(t *testing.T) {
	f := &feed[*pb.Alert]{}
	f.add(number(0)) // nobody is there yet
	fast, slow := f.join(), f.join()
	for n := 1; n <= 3; n++ {
		f.add(number(n))
	}
	read := func(w *watcher, want int) {
		t.Helper()
		if m, err := f.take(t.Context(), w); err != nil || m.GetPID() != int32(want) {
			t.Errorf("got %v, %v, want %d", m, err, want)
		}
	}
	read(fast, 1)
	read(fast, 2)
	read(slow, 1)
	if len(f.held) != 2 {
		t.Errorf("%d are held, want 2 that one has not read", len(f.held))
	}
	f.leave(slow)
	if len(f.held) != 1 {
		t.Errorf("%d are held, want 1: who left is not waited for", len(f.held))
	}
	late := f.join()
	f.add(number(4))
	read(late, 4)
	read(fast, 3)
	f.finish()
	f.add(number(5))
	read(fast, 4)
	if m, err := f.take(t.Context(), fast); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v, %v", m, err)
	}
	if f.bytes != 0 || len(f.held) != 0 || f.watched() {
		t.Errorf("after all has been read %d bytes, %d messages are held", f.bytes, len(f.held))
	}
}

func TestFeedIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		message *pb.Alert
		sent    int
		kept    int
	}{
		"by number": {number(1), maxHeld + 7, maxHeld},
		"by bytes":  {&pb.Alert{Resource: strings.Repeat("r", maxHeldBytes/4)}, 10, 3},
		"but one":   {&pb.Alert{Resource: strings.Repeat("r", maxHeldBytes)}, 2, 1},
	} {
		f := &feed[*pb.Alert]{}
		w, missed := f.join(), 0
		for range c.sent {
			missed += f.add(c.message)
		}
		if len(f.held) != c.kept || missed != c.sent-c.kept || w.missed != missed {
			t.Errorf("%s: %d held, %d missed, want %d and %d", name, len(f.held), missed, c.kept, c.sent-c.kept)
		}
	}
}

func TestTakeEndsWithItsContext(t *testing.T) {
	f := &feed[*pb.Alert]{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.take(ctx, f.join()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
