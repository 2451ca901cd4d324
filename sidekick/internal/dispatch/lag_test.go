package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// full is a stream that has the oldest events leave the backlog.
type full struct {
	*memory
	upTo    uint64
	changed chan struct{}
}

func newFull(m *memory) *full { return &full{memory: m, changed: make(chan struct{})} }

func (f *full) Behind() (uint64, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.upTo, f.changed
}

func (f *full) leave(upTo uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.upTo = upTo
	close(f.changed)
	f.changed = make(chan struct{})
}

// What has left the backlog of an output that is dead, hangs or waits is a dead
// letter as far as there is room, is counted, and is not delivered any more.
func TestBehind(t *testing.T) {
	const n, left, room = 50, 30, 10
	for name, fault := range map[string]error{
		"dead": errors.New("connection refused"), "hangs": errHang,
		"asks to wait": &outputs.Error{Class: outputs.RateLimited, RetryAfter: time.Hour, Err: errors.New("429")},
	} {
		for _, batch := range []int{1, 20} {
			t.Run(fmt.Sprint(name, ", batches of ", batch), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var up atomic.Bool
					s := &service{reply: func(int, []string) error {
						if up.Load() {
							return nil
						}
						return fault
					}}
					m := newFull(newMemory(several("a", n)...))
					target := single("x", s, m, nil)
					target.Limits.BatchEvents, target.Limits.BatchDelay = batch, time.Second
					kept := &letters{spare: room}
					d, stop := runningWith(t, kept, Options{}, target)
					time.Sleep(time.Minute)
					for n := len(s.got()); len(s.got()) == n && name != "asks to wait"; {
						time.Sleep(10 * time.Millisecond)
					}
					m.leave(left) // just after a request
					time.Sleep(2 * time.Second)
					if m.done() != left {
						t.Errorf("%d of %d have left", m.done(), left)
					}
					status := d.Status()["x"]
					if kept.count() != room || status.DeadLetters["lag"] != room || status.Lost["lag"] != left-room {
						t.Errorf("%d dead letters, status %+v", kept.count(), status)
					}
					before := len(s.got())
					up.Store(true)
					time.Sleep(2 * time.Hour)
					stop()
					got := flat(s.got()[before:])
					if m.done() != n || !strings.HasSuffix(got, "a47 a48 a49") || strings.Contains(" "+got+" ", " a29 ") {
						t.Errorf("%d acknowledged, delivered %s", m.done(), got)
					}
				})
			})
		}
	}
}

func TestBehindInDigests(t *testing.T) {
	for _, fault := range []error{errors.New("500"), errHang} {
		t.Run(fault.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n, left = 2000, 1500
				c := &chat{reply: func(int, told) error { return fault }}
				m := newFull(newMemory(reads(n, 20)...))
				kept := &letters{spare: n}
				_, stop := running(t, kept, chatTarget(c, m))
				time.Sleep(10 * time.Minute)
				m.leave(left)
				time.Sleep(10 * time.Second)
				if m.done() != left || kept.count() != left {
					t.Errorf("%d have left, %d dead letters", m.done(), kept.count())
				}
				c.mu.Lock()
				c.reply = nil
				c.mu.Unlock()
				time.Sleep(10 * time.Minute)
				stop()
				if _, events := c.got(); events != n-left || m.done() != n {
					t.Errorf("%d told, %d acknowledged", events, m.done())
				}
			})
		})
	}
}

// A request that hangs does not hold the place of what has left the backlog, however
// much of it has not: a post may wait for that.
func TestBehindWithinARequest(t *testing.T) {
	for name, target := range map[string]func(Reader) Target{
		"batch": func(r Reader) Target {
			target := single("x", &service{reply: func(int, []string) error { return errHang }}, r, nil)
			target.Limits.BatchEvents, target.Limits.Timeout = 100, time.Hour
			return target
		},
		"digest": func(r Reader) Target {
			target := chatTarget(&chat{reply: func(int, told) error { return errHang }}, r)
			target.Limits.Timeout = time.Hour
			return target
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newFull(newMemory(reads(100, 1)...))
				_, stop := running(t, &letters{spare: 100}, target(m))
				defer stop()
				for _, left := range []int{40, 50, 60, 70} {
					time.Sleep(time.Minute)
					m.leave(uint64(left))
					time.Sleep(cutAfter<<cutDoubles + time.Second)
					if m.done() != left {
						t.Errorf("%d of %d have left", m.done(), left)
					}
				}
			})
		})
	}
}

// tardy is a service that takes its time.
type tardy struct {
	takes time.Duration
	taken atomic.Int64
}

func (s *tardy) Deliver(ctx context.Context, batch []schema.Event) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(s.takes):
		s.taken.Add(int64(len(batch)))
		return nil
	}
}

// A slow service gets what it can take while events leave its backlog all the time.
func TestBehindASlowService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, step = 2000, 20
		s := &tardy{takes: 3 * time.Second}
		m := newFull(newMemory(several("a", n)...))
		target := single("x", nil, m, nil)
		target.Output, target.Limits.BatchEvents, target.Limits.BatchDelay = s, 100, time.Second
		kept := &letters{spare: n}
		_, stop := running(t, kept, target)
		for left := step; left <= n; left += step {
			m.leave(uint64(left))
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		stop()
		if s.taken.Load() < n/4 || m.done() != n {
			t.Errorf("%d taken, %d dead letters, %d acknowledged", s.taken.Load(), kept.count(), m.done())
		}
	})
}

// emptied is a stream that has lost what was read of it.
type emptied struct{ *memory }

func (emptied) Event(_ context.Context, seq uint64) (schema.Event, int, error) {
	return schema.Event{}, 0, fmt.Errorf("event %d: %w", seq, fs.ErrNotExist)
}

// Events of a refused digest that the queue has lost cannot become dead letters, and
// are counted all the same.
func TestRefusedDigestOfLostEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &chat{reply: func(int, told) error {
			return &outputs.Error{Class: outputs.Permanent, Err: errors.New("400 invalid_blocks")}
		}}
		m, dead := newMemory(reads(500, 1)...), &letters{}
		reg, stop := running(t, dead, chatTarget(c, emptied{m}))
		time.Sleep(2 * time.Minute)
		stop()
		line := fmt.Sprintf(`sidearmor_lost_events_total{destination="slack",reason="gone"} %d`, 500-dead.count())
		if n := dead.count(); n == 0 || n == 500 || m.done() != 500 || !metric(reg, line) {
			t.Errorf("%d dead letters, %d acknowledged, or not %s", n, m.done(), line)
		}
	})
}
