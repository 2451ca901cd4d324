package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// runningWith is running with more options, and a log that can be read after stop.
func runningWith(t *testing.T, dead DeadLetters, opts Options, targets ...Target) (d *Dispatcher, stop func() (log string)) {
	t.Helper()
	var text strings.Builder
	opts.Targets, opts.DeadLetters, opts.Metrics = targets, dead, prometheus.NewRegistry()
	opts.Log = slog.New(slog.NewTextHandler(&text, nil))
	if opts.StopTimeout == 0 {
		opts.StopTimeout = 10 * time.Second
	}
	d = New(opts)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { d.Run(ctx); close(done) }()
	return d, func() string { cancel(); <-done; return text.String() }
}

func severalLogs(n int) (all []schema.Event) {
	for i := range n {
		all = append(all, logEvent(fmt.Sprint("l", i)))
	}
	return all
}

// What can be delivered in time is, alerts first; the rest stays and is told of.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alerts, logs := newMemory(), newMemory(severalLogs(100)...)
		target := single("x", nil, alerts, logs)
		target.Output = slow(time.Second)
		_, stop := runningWith(t, &letters{}, Options{}, target)
		time.Sleep(1500 * time.Millisecond)
		alerts.add(several("a", 6)...)
		begin := time.Now()
		log := stop()
		if alerts.done() != 6 || logs.done() < 3 || logs.done() > 6 {
			t.Errorf("%d alerts and %d logs delivered", alerts.done(), logs.done())
		}
		if took := time.Since(begin); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("took %v", took)
		}
		if want := fmt.Sprintf("output=x alerts_left=0 logs_left=%d", 100-logs.done()); !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	})
}

func TestDrainEndsEarly(t *testing.T) {
	for _, c := range []struct {
		name   string
		reply  func(n int, ids []string) error
		events int
		left   int
		within time.Duration
	}{
		{"nothing there", nil, 0, 0, time.Second},
		{"all delivered", nil, 5, 0, time.Second},
		{"next retry is too late", func(int, []string) error {
			return &outputs.Error{Class: outputs.RateLimited, RetryAfter: time.Hour, Err: errors.New("429")}
		}, 5, 5, time.Second},
		{"receiver hangs", func(int, []string) error { return errHang }, 5, 5, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(several("a", c.events)...)
				target := single("x", &service{reply: c.reply}, m, nil)
				target.Limits.Timeout = time.Hour
				_, stop := runningWith(t, &letters{}, Options{}, target)
				begin := time.Now()
				stop()
				if took := time.Since(begin); took > c.within || c.events-m.done() != c.left {
					t.Errorf("took %v, %d left", took, c.events-m.done())
				}
			})
		})
	}
}

// deaf does not hear its context.
type deaf struct{ release chan struct{} }

func (d deaf) Deliver(context.Context, []schema.Event) error { <-d.release; return nil }

func TestDeafOutputIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := deaf{make(chan struct{})}
		target := single("x", nil, newMemory(several("a", 2)...), nil)
		target.Output = d
		_, stop := runningWith(t, &letters{}, Options{}, target)
		synctest.Wait()
		begin := time.Now()
		log := stop()
		if took := time.Since(begin); took > 10*time.Second+grace || !strings.Contains(log, "left behind") {
			t.Errorf("took %v:\n%s", took, log)
		}
		close(d.release)
	})
}

// The time counts from when the stop began, not from when deliveries are told.
func TestStopTimeBeginsEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopping, begin := context.WithCancel(t.Context())
		target := single("x", nil, newMemory(several("a", 2)...), nil)
		target.Output, target.Limits.Timeout = slow(time.Hour), time.Hour
		_, stop := runningWith(t, &letters{}, Options{Stopping: stopping}, target)
		start := time.Now()
		begin()
		time.Sleep(4 * time.Second)
		stop()
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestStopFlushesDigests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := &chat{}, newMemory(reads(100, 4)...)
		target := chatTarget(c, m)
		target.Limits.Rates = []outputs.Rate{{Messages: 1, Per: time.Second}}
		_, stop := runningWith(t, &letters{}, Options{}, target)
		time.Sleep(10 * time.Second)
		if _, events := c.got(); events >= 100 {
			t.Fatalf("%d events are told before the window ends", events)
		}
		begin := time.Now()
		stop()
		if _, events := c.got(); events != 100 || m.done() != 100 || time.Since(begin) > 6*time.Second {
			t.Errorf("%d events told, %d acknowledged, after %v", events, m.done(), time.Since(begin))
		}
	})
}

// What is acknowledged is what was told, whenever it stops.
func TestStopLeavesWhatWasNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &chat{reply: func(n int, _ told) error {
			if n > 2 {
				return errors.New("500")
			}
			return nil
		}}
		m := newMemory(reads(100, 10)...)
		_, stop := runningWith(t, &letters{}, Options{}, chatTarget(c, m))
		time.Sleep(time.Minute)
		stop()
		if _, events := c.got(); events != m.done() || events >= 100 {
			t.Errorf("%d events told, %d acknowledged", events, m.done())
		}
	})
}
