package dispatch

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

func aged(prefix string, n int, received time.Time) []schema.Event {
	all := several(prefix, n)
	for i := range all {
		all[i].Received = received
	}
	return all
}

// Events become too old while the output waits for hours, and do not wait for that.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{reply: func(n int, _ []string) error {
			return &outputs.Error{Class: outputs.RateLimited, RetryAfter: time.Hour, Err: fmt.Errorf("429 for the %d. time", n)}
		}}
		now := time.Now()
		m := newMemory(aged("old", 3, now.Add(-time.Hour))...)
		m.add(aged("a", 5, now.Add(-5*time.Minute))...)
		m.add(aged("b", 5, now)...)
		m.add(aged("future", 2, now.Add(1000*time.Hour))...)
		m.add(aged("unknown", 1, time.Time{})...)
		target := single("x", s, m, nil)
		target.Limits.BatchEvents = 4
		dead := &letters{fail: 2}
		reg, stop := newRunning(t, dead, 20*time.Minute, target)
		for _, c := range []struct {
			after time.Duration
			dead  int
		}{{10 * time.Second, 3}, {14 * time.Minute, 3}, {2 * time.Minute, 8}, {3 * time.Minute, 8}, {2 * time.Minute, 13}, {25 * time.Minute, 16}} {
			time.Sleep(c.after)
			synctest.Wait()
			n := dead.count()
			// What comes behind in the queue is only seen when there is room for it.
			if n < c.dead || m.done() != n {
				t.Errorf("after %v: %d dead letters, want %d; %d acknowledged", time.Since(now), n, c.dead, m.done())
			}
		}
		stop()
		for id, reason := range dead.reasons {
			if reason != "expired" {
				t.Errorf("%s: %s", id, reason)
			}
		}
		if !metric(reg, `sidearmor_dead_letters_total{destination="x",reason="expired"} 16`) || len(s.got()) > 2 {
			t.Errorf("%d attempts, or not counted", len(s.got()))
		}
	})
}

func TestExpiry(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name          string
		received      time.Time
		maxAge, after time.Duration
	}{
		{"new", now, time.Hour, time.Hour},
		{"older", now.Add(-20 * time.Minute), time.Hour, 40 * time.Minute},
		{"too old", now.Add(-2 * time.Hour), time.Hour, -time.Hour},
		{"from the future", now.Add(100 * time.Hour), time.Hour, time.Hour},
		{"unknown", time.Time{}, time.Hour, time.Hour},
	} {
		if got := expiry(&schema.Event{Received: c.received}, now, c.maxAge).Sub(now); got != c.after {
			t.Errorf("%s: %v, want %v", c.name, got, c.after)
		}
	}
	if got := expiry(&schema.Event{Received: now.Add(-1e18)}, now, 0); !got.IsZero() {
		t.Errorf("without a limit: %v", got)
	}
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan error, 1)
		s := &service{reply: func(int, []string) error { return <-answers }}
		m, start := newMemory(), time.Now().UTC()
		d, stop := runningWith(t, &letters{}, Options{}, single("slack", s, m, nil), single("idle", &service{}, newMemory(), nil))
		check := func(status, reason string, since, until time.Duration) {
			t.Helper()
			time.Sleep(time.Second)
			got := d.Status()["slack"]
			if got.Status != status || got.Reason != reason || (got.Since != nil) != (status == StatusFailing) ||
				got.Since != nil && got.Since.Sub(start) != since || until > 0 && got.Until.Sub(start) < until {
				t.Errorf("%+v, since %v, until %v", got, got.Since, got.Until)
			}
		}
		check("ok", "", 0, 0)
		answers <- &outputs.Error{Class: outputs.RateLimited, RetryAfter: time.Minute, Err: errors.New("429")}
		m.add(several("a", 1)...)
		check("failing", "429", time.Second, time.Minute)
		answers <- &outputs.Error{Class: outputs.Permanent, Err: errors.New("404 no_service")}
		time.Sleep(2 * time.Minute)
		check("failing", "404 no_service", time.Second, 0)
		answers <- nil
		m.add(several("b", 1)...)
		check("ok", "", 0, 0)
		if got := d.Status()["idle"]; got.Status != "ok" || len(d.Status()) != 2 {
			t.Errorf("idle: %+v", got)
		}
		stop()
	})
}
