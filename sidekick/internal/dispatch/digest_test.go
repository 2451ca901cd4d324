package dispatch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/digest"
)

// chat is an output that takes digests.
type chat struct {
	mu       sync.Mutex
	messages []told // that were taken
	attempts int
	reply    func(n int, m told) error // n counts attempts from 0; nil takes everything
}

// told is a message.
type told struct {
	count    int
	resource string
	examples string // ids
	kind     string // policy
	digest   bool
	at       time.Time
}

func (c *chat) Deliver(ctx context.Context, batch []schema.Event) error {
	e := &batch[0]
	m := told{count: 1, resource: e.Alert.Resource, examples: e.ID, kind: e.Alert.PolicyName, at: time.Now()}
	return c.take(ctx, m)
}

func (c *chat) DeliverDigest(ctx context.Context, d *outputs.Digest) error {
	m := told{count: d.Count, resource: d.Resource, kind: d.Examples[0].Alert.PolicyName, digest: true, at: time.Now()}
	for _, e := range d.Examples {
		m.examples += e.ID + " "
	}
	return c.take(ctx, m)
}

func (c *chat) take(ctx context.Context, m told) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.attempts
	c.attempts++
	var err error
	if c.reply != nil {
		err = c.reply(n, m)
	}
	switch {
	case err == nil:
		c.messages = append(c.messages, m)
	case errors.Is(err, errHang):
		c.mu.Unlock()
		<-ctx.Done()
		c.mu.Lock()
	}
	return err
}

func (c *chat) got() (all []told, events int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.messages {
		events += m.count
	}
	return append(all, c.messages...), events
}

func chatTarget(c outputs.Output, alerts Reader) Target {
	return Target{Name: "slack", Output: c, Alerts: alerts, DigestWindow: time.Minute, Limits: outputs.Limits{BatchEvents: 1}}
}

func read(id, policy, path string) schema.Event {
	e := alert(id, "5")
	e.Alert.PolicyName, e.Alert.ProcessName, e.Alert.Resource, e.Alert.Source = policy, "/bin/cat", path, "/bin/cat "+path
	e.Alert.UpdatedTime = time.Now().UTC().Format(time.RFC3339Nano)
	e.Received = time.Now()
	return e
}

func reads(n, kinds int) (all []schema.Event) {
	for i := range n {
		all = append(all, read(fmt.Sprint("e", i), fmt.Sprint("p", i%kinds), fmt.Sprintf("/etc/%d", i)))
	}
	return all
}

// The first goes out as it is and at once, however many come with it; the others
// follow together when the window ends, and then the kind is new again.
func TestDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m, start := &chat{}, newMemory(), time.Now()
		reg, stop := running(t, &letters{}, chatTarget(c, m))
		m.add(reads(1000, 1)...)
		time.Sleep(time.Second)
		if got, _ := c.got(); len(got) != 1 || got[0].digest || got[0].examples != "e0" || m.done() != 1 {
			t.Fatalf("at first: %+v, %d acknowledged", got, m.done())
		}
		time.Sleep(29 * time.Second)
		m.add(read("late", "p0", "/etc/shadow"), read("other", "q", "/x"))
		time.Sleep(40 * time.Second)
		got, events := c.got()
		if len(got) != 3 || events != 1002 || got[1].kind != "q" || got[1].digest || m.done() != 1002 {
			t.Fatalf("then: %+v, %d acknowledged", got, m.done())
		}
		d := got[2]
		if d.count != 1000 || d.resource != "/etc/*" || d.examples != "e1 e2 e3 " || d.at.Sub(start).Round(time.Second) != time.Minute {
			t.Errorf("digest %+v after %v", d, d.at.Sub(start))
		}
		time.Sleep(time.Hour)
		m.add(read("new", "p0", "/etc/shadow"), read("again", "p0", "/etc/shadow"))
		time.Sleep(time.Second)
		if got, _ := c.got(); len(got) != 4 || got[3].digest {
			t.Errorf("after an hour: %+v", got)
		}
		time.Sleep(2 * time.Minute)
		if got, _ := c.got(); len(got) != 5 || got[4].digest || got[4].examples != "again" {
			t.Errorf("one alone is no digest: %+v", got)
		}
		for _, line := range []string{
			`sidearmor_digests_total{destination="slack"} 1`,
			`sidearmor_digested_events_total{destination="slack"} 1000`,
			`falcosecurity_falcosidekick_outputs_total{destination="slack",status="ok"} 1004`,
		} {
			if !metric(reg, line) {
				t.Errorf("no metric %s", line)
			}
		}
		stop()
	})
}

func TestDigestAfterOutage(t *testing.T) {
	const n, kinds = 100_000, 5
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := &chat{reply: func(int, told) error {
			if time.Since(start) < 2*time.Hour {
				return errors.New("500")
			}
			return nil
		}}
		m := newMemory(reads(n, kinds)...)
		target := chatTarget(c, m)
		target.Limits.Rates = []outputs.Rate{{Messages: 1, Per: time.Second}}
		_, stop := running(t, &letters{}, target)
		time.Sleep(2*time.Hour - time.Second)
		if m.done() != 0 {
			t.Errorf("%d acknowledged, none delivered", m.done())
		}
		time.Sleep(10 * time.Minute)
		stop()
		got, events := c.got()
		if len(got) > 2*kinds || events != n || m.done() != n {
			t.Errorf("%d messages of %d events, %d acknowledged: %+v", len(got), events, m.done(), got)
		}
	})
}

// More kinds than there is room for, and more room for examples than there is: what
// does not fit waits in the queue, and all of it is told.
func TestDigestBounds(t *testing.T) {
	for name, events := range map[string]func() []schema.Event{
		"kinds": func() []schema.Event { return reads(3*digest.MaxGroups, 3*digest.MaxGroups) },
		"bytes": func() []schema.Event { return reads(2000, 500) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := events()
				c, m := &chat{}, newMemory(all...)
				if name == "bytes" {
					m.size = digest.MaxExampleBytes / 100
				}
				_, stop := running(t, &letters{}, chatTarget(c, m))
				time.Sleep(24 * time.Hour)
				stop()
				if _, told := c.got(); told != len(all) || m.done() != len(all) {
					t.Errorf("%d of %d events told, %d acknowledged", told, len(all), m.done())
				}
			})
		})
	}
}

// Whatever fails, every event is in exactly one message that was taken or in the
// dead letters, and only such are acknowledged.
func TestDigestAddsUp(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			var refused atomic.Int64
			luck := rand.New(rand.NewPCG(seed, 2))
			c := &chat{}
			c.reply = func(_ int, m told) error {
				switch luck.IntN(6) {
				case 0:
					return errors.New("500")
				case 1:
					return &outputs.Error{Class: outputs.RateLimited, RetryAfter: time.Duration(luck.IntN(100)) * time.Second, Err: errors.New("429")}
				case 2:
					refused.Add(int64(m.count))
					return &outputs.Error{Class: outputs.Permanent, Err: errors.New("400")}
				case 3:
					return errHang
				}
				return nil
			}
			m, dead := newMemory(), &letters{fail: r.IntN(20)}
			target := chatTarget(c, m)
			target.DigestWindow = time.Duration(1+r.IntN(30)) * time.Second
			target.Filter = matching(func(id string) (bool, error) { return !strings.HasSuffix(id, "7"), nil })
			_, stop := running(t, dead, target)
			n := 0
			for range 50 {
				batch := reads(r.IntN(40), 1+r.IntN(6))
				for i := range batch {
					batch[i].ID = fmt.Sprint("x", n)
					n++
				}
				m.add(batch...)
				time.Sleep(time.Duration(r.IntN(20)) * time.Second)
				_, told := c.got()
				if done := m.done(); done > told+int(refused.Load())+(n+9)/10 {
					t.Fatalf("seed %d: %d acknowledged, %d told", seed, done, told)
				}
			}
			time.Sleep(24 * time.Hour)
			stop()
			_, told := c.got()
			filtered := (n + 2) / 10
			if told+len(dead.reasons)+filtered != n || m.done() != n {
				t.Errorf("seed %d: of %d events %d told, %d dead, %d filtered, %d acknowledged", seed, n, told, len(dead.reasons), filtered, m.done())
			}
		})
	}
}

// A digest that is refused for good goes to the dead letters event by event, though
// memory has three of them.
func TestRefusedDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &chat{reply: func(_ int, m told) error {
			if m.digest {
				return &outputs.Error{Class: outputs.Permanent, Err: errors.New("400 invalid_blocks")}
			}
			return nil
		}}
		m, dead := newMemory(reads(500, 1)...), &letters{}
		reg, stop := running(t, dead, chatTarget(c, m))
		time.Sleep(2 * time.Minute)
		stop()
		if len(dead.reasons) != 499 || dead.reasons["slack/e250"] != "400 invalid_blocks" || m.done() != 500 {
			t.Errorf("%d dead letters, %d acknowledged", len(dead.reasons), m.done())
		}
		if !metric(reg, `sidearmor_dead_letters_total{destination="slack",reason="refused"} 499`) {
			t.Error("not counted")
		}
	})
}

func TestDigestExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &chat{reply: func(int, told) error {
			return &outputs.Error{Class: outputs.RateLimited, RetryAfter: time.Hour, Err: errors.New("429")}
		}}
		m, dead := newMemory(reads(10, 2)...), &letters{fail: 3}
		_, stop := runningWith(t, dead, Options{MaxAge: 30 * time.Minute}, chatTarget(c, m))
		time.Sleep(20 * time.Minute)
		later := reads(4, 2)
		for i := range later {
			later[i].ID = fmt.Sprint("late", i)
		}
		m.add(later...)
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if dead.count() != 10 || m.done() != 10 {
			t.Errorf("after half an hour: %d dead letters, %d acknowledged", dead.count(), m.done())
		}
		time.Sleep(30 * time.Minute)
		stop()
		if len(dead.reasons) != 14 || dead.reasons["slack/e3"] != "expired" || m.done() != 14 {
			t.Errorf("later: %d dead letters, %d acknowledged", len(dead.reasons), m.done())
		}
	})
}

// What comes faster than it should be read for digests waits in the queue, until the
// sidekick stops.
func TestDigestReadsAtItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, seconds = 64 << 10, 10
		c, m := &chat{}, newMemory(reads(1000, 1)...)
		m.size = size
		_, stop := running(t, &letters{}, chatTarget(c, m))
		time.Sleep(seconds * time.Second)
		m.mu.Lock()
		bytes := m.next * size
		m.mu.Unlock()
		// One batch more may be read than the pace allows, and one waits to be taken.
		if low := seconds * digestPace; bytes < low || bytes > low+digestBurst+2*(256<<10+size) {
			t.Errorf("%d bytes read in %d s", bytes, seconds)
		}
		begin := time.Now()
		stop()
		if _, events := c.got(); events != 1000 || time.Since(begin) > time.Second {
			t.Errorf("%d events told at the stop, after %v", events, time.Since(begin))
		}
	})
}
