package dispatch

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/digest"
)

// picky is a service that fails requests with certain events in them, and takes
// all others.
type picky struct {
	poison func(id string) bool
	fault  error

	mu    sync.Mutex
	taken []string
	last  time.Time // when something was taken
}

func (s *picky) reply(_ int, ids []string) error {
	if slices.ContainsFunc(ids, s.poison) {
		return s.fault
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = append(s.taken, ids...)
	s.last = time.Now()
	return nil
}

func (s *picky) got() (taken []string, last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.taken), s.last
}

func oneOf(ids ...string) func(string) bool {
	return func(id string) bool { return slices.Contains(ids, id) }
}

// An event that a service fails, whatever it answers to others, holds up nothing: the
// others arrive soon, and in order; it is a dead letter after some attempts.
func TestPoison(t *testing.T) {
	everyThird := func(id string) bool { return id[0] == 'a' && strings.Contains("0369", id[len(id)-1:]) }
	for _, c := range []struct {
		name     string
		poison   func(string) bool
		fault    error
		events   int
		batch    int
		inFlight int
		within   time.Duration
		loose    bool // one goes ahead of others: its neighbours are at fault as well
	}{
		{"one", oneOf("a5"), errors.New("500"), 20, 1, 1, time.Minute, false},
		{"the first", oneOf("a0"), errors.New("500"), 20, 1, 1, time.Minute, false},
		{"three one after another", oneOf("a5", "a6", "a7"), errors.New("500"), 20, 1, 1, 80 * time.Second, true},
		{"many", everyThird, errors.New("500"), 102, 1, 1, 4 * time.Minute, true},
		{"it hangs", oneOf("a5"), errHang, 20, 1, 1, 85 * time.Second, false},
		{"it is forbidden", oneOf("a5"), &outputs.Error{Class: outputs.Transient, Err: errors.New("403")}, 20, 1, 1, time.Minute, false},
		{"in a batch", oneOf("a5"), errors.New("500"), 20, 100, 1, 60 * time.Second, false},
		{"in a large batch", oneOf("a700"), errors.New("500"), 1500, 1000, 1, 80 * time.Second, false},
		{"in batches", oneOf("a5", "a60", "a61", "a149"), errors.New("500"), 151, 50, 1, 80 * time.Second, true},
		{"several in flight", oneOf("a5"), errors.New("500"), 200, 1, 8, 2 * time.Second, false},
		{"many, several in flight", everyThird, errors.New("500"), 200, 1, 8, 20 * time.Second, false},
		{"batches in flight", oneOf("a5", "a60", "a61", "a149"), errors.New("500"), 400, 20, 4, 20 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &picky{poison: c.poison, fault: c.fault}
				s := &service{reply: p.reply}
				target := single("x", s, newMemory(several("a", c.events)...), nil)
				target.Limits.BatchEvents, target.Limits.BatchDelay = c.batch, 100*time.Millisecond
				for range c.inFlight - 1 {
					target.More = append(target.More, s)
				}
				var want, dead []string
				for i := range c.events {
					if id := fmt.Sprint("a", i); c.poison(id) {
						dead = append(dead, id)
					} else {
						want = append(want, id)
					}
				}
				kept, start := &letters{}, time.Now()
				reg, stop := running(t, kept, target)
				time.Sleep(30 * time.Minute)
				_, last := p.got()
				// What is left shows when something else comes.
				for i := range 10 {
					target.Alerts.(*memory).add(alert(fmt.Sprint("later", i), "5"))
					want = append(want, fmt.Sprint("later", i))
					time.Sleep(time.Minute)
				}
				time.Sleep(30 * time.Minute)
				stop()
				taken, _ := p.got()
				if took := last.Sub(start); took > c.within {
					t.Errorf("the others took %v", took)
				}
				if c.loose || c.inFlight > 1 {
					slices.Sort(taken)
					slices.Sort(want)
				}
				if !slices.Equal(taken, want) {
					t.Errorf("taken %v", taken)
				}
				if kept.count() != len(dead) || target.Alerts.(*memory).done() != c.events+10 {
					t.Errorf("dead letters %v, %d acknowledged", kept.reasons, target.Alerts.(*memory).done())
				}
				if line := fmt.Sprintf(`sidearmor_dead_letters_total{destination="x",reason="attempts"} %d`, len(dead)); !metric(reg, line) {
					t.Errorf("no metric %s", line)
				}
			})
		})
	}
}

// In an outage nothing is given up, however long it lasts, and order is kept where
// it is promised.
func TestOutageIsNoPoison(t *testing.T) {
	for _, c := range []struct{ events, batch, inFlight int }{{30, 1, 1}, {30, 1, 8}, {300, 20, 1}, {300, 20, 4}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				p := &picky{poison: func(string) bool { return time.Since(start) < 5*time.Hour }, fault: errors.New("503")}
				s := &service{reply: p.reply}
				target := single("x", s, newMemory(several("a", c.events)...), nil)
				target.Limits.BatchEvents, target.Limits.BatchDelay = c.batch, 100*time.Millisecond
				for range c.inFlight - 1 {
					target.More = append(target.More, s)
				}
				kept := &letters{}
				_, stop := running(t, kept, target)
				time.Sleep(6 * time.Hour)
				stop()
				if kept.count() != 0 || len(p.taken) != c.events {
					t.Errorf("%d taken, dead letters %v", len(p.taken), kept.reasons)
				}
				for i, id := range p.taken {
					if c.inFlight == 1 && id != fmt.Sprint("a", i) {
						t.Fatalf("out of order: %v", p.taken)
					}
				}
			})
		})
	}
}

// A digest that fails while others get through does not hold them up. What it showed
// is tried by itself, and the rest of its kind is told.
func TestPoisonInDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &chat{reply: func(_ int, m told) error {
			if strings.Contains(" "+m.examples+" ", " bad ") {
				return errors.New("500")
			}
			return nil
		}}
		bad := read("bad", "2", "/etc/bad")
		m := newMemory(read("p1", "1", "/a"), bad, read("p2", "2", "/b"), read("p3", "3", "/c"))
		kept := &letters{}
		reg, stop := running(t, kept, chatTarget(c, m))
		for i := range 100 {
			time.Sleep(time.Second)
			m.add(read(fmt.Sprint("x", i), fmt.Sprint(i%4), fmt.Sprint("/x/", i)))
		}
		time.Sleep(30 * time.Minute)
		stop()
		_, events := c.got()
		if events != 103 || kept.count() != 1 || kept.reasons["slack/bad"] == "" || m.done() != 104 {
			t.Errorf("%d events told, dead letters %v, %d acknowledged", events, kept.reasons, m.done())
		}
		if !metric(reg, `sidearmor_output_set_aside_events{destination="slack"} 0`) {
			t.Error("something is aside still")
		}
	})
}

// TestInFlight: many requests at once take the time of few.
func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		most, now := 0, 0
		s := &service{reply: func(int, []string) error {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			now--
			mu.Unlock()
			return nil
		}}
		target := single("x", s, newMemory(several("a", 300)...), newMemory(logEvent("l0")))
		for range 7 {
			target.More = append(target.More, s)
		}
		_, stop := running(t, &letters{}, target)
		time.Sleep(4 * time.Second)
		stop()
		mu.Lock()
		defer mu.Unlock()
		if n := len(s.got()); n != 301 || most != 8 {
			t.Errorf("%d requests, at most %d at a time", n, most)
		}
	})
}

// The log says of an outage again and again that it goes on.
func TestRemindedOfOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{reply: func(int, []string) error {
			return &outputs.Error{Class: outputs.RateLimited, RetryAfter: time.Hour, Err: errors.New("429")}
		}}
		_, stop := runningWith(t, &letters{}, Options{}, single("x", s, newMemory(several("a", 1)...), nil))
		time.Sleep(58 * time.Minute)
		log := stop()
		if n := strings.Count(log, "still fails"); n != 3 {
			t.Errorf("%d reminders in\n%s", n, log)
		}
	})
}

// A workload that makes ever new kinds does not make an output fall behind that
// takes a message a second.
func TestEverNewKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := &chat{}, newMemory()
		target := chatTarget(c, m)
		target.Limits.Rates = []outputs.Rate{{Messages: 1, Per: time.Second}}
		_, stop := running(t, &letters{}, target)
		const n = 20_000
		for i := range n / 100 {
			var some []schema.Event
			for j := range 100 {
				e := read(fmt.Sprint("e", i, "-", j), "1", "/etc/passwd")
				e.Alert.ProcessName = fmt.Sprint("/tmp/", i, "/", j)
				some = append(some, e)
			}
			m.add(some...)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(3 * time.Minute)
		got, events := c.got()
		if events != n || m.done() != n || len(got) > 4*digest.MaxWaiting {
			t.Errorf("%d messages of %d events, %d acknowledged", len(got), events, m.done())
		}
		stop()
	})
}
