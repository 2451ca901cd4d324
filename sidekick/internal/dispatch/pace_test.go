package dispatch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// enforcer is a service that keeps to its documented rates and says so.
type enforcer struct {
	rates   []outputs.Rate
	taken   []time.Time
	refused int
	inARow  int
	worst   int // 429 one after another
	delay   func(n int) time.Duration
	headers bool // says when its next message would be refused
	pause   time.Duration
	n       int
}

// room is when the service takes the next message.
func (e *enforcer) room(now time.Time) time.Time {
	at := now
	for _, r := range e.rates {
		if n := len(e.taken) - r.Messages; n >= 0 {
			at = latest(at, e.taken[n].Add(r.Per))
		}
	}
	return at
}

// Deliver takes its time on the way there and on the way back.
func (e *enforcer) Deliver(context.Context, []schema.Event) error {
	e.n++
	time.Sleep(e.delay(2 * e.n))
	defer time.Sleep(e.delay(2*e.n + 1))
	now := time.Now()
	e.pause = 0
	if wait := e.room(now).Sub(now); wait > 0 {
		e.refused++
		e.inARow++
		e.worst = max(e.worst, e.inARow)
		return &outputs.Error{Class: outputs.RateLimited, RetryAfter: wait, Err: errors.New("429")}
	}
	e.inARow = 0
	e.taken = append(e.taken, now)
	if e.headers {
		e.pause = e.room(now).Sub(now)
	}
	return nil
}

// Pause implements outputs.Pacer.
func (e *enforcer) Pause() time.Duration { return e.pause }

func TestPace(t *testing.T) {
	slack := []outputs.Rate{{Messages: 1, Per: time.Second}}
	discord := []outputs.Rate{{Messages: 5, Per: 2 * time.Second}, {Messages: 30, Per: time.Minute}}
	for _, c := range []struct {
		name        string
		ours, their []outputs.Rate
		before      int // messages that somebody else sent
		headers     bool
		refused     int
		within      time.Duration
	}{
		{"slack", slack, slack, 0, false, 0, 140 * time.Second},
		{"discord", discord, discord, 0, false, 0, 4 * time.Minute},
		{"after a restart", discord, discord, 30, false, 1 << 20, 5 * time.Minute},
		{"by headers alone", nil, discord, 0, true, 0, 4 * time.Minute},
		{"other limits than ours", discord, []outputs.Rate{{Messages: 2, Per: 5 * time.Second}}, 0, true, 0, 6 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &enforcer{rates: c.their, headers: c.headers}
				e.delay = func(n int) time.Duration { return time.Duration(n*7919%400) * time.Millisecond }
				for range c.before {
					e.taken = append(e.taken, time.Now())
				}
				m := newMemory(several("a", 100)...)
				target := Target{Name: "x", Output: e, Alerts: m, Limits: outputs.Limits{BatchEvents: 1, Rates: c.ours}}
				_, stop := running(t, &letters{}, target)
				time.Sleep(c.within)
				stop()
				if e.worst > 1 || e.refused > c.refused || m.done() != 100 {
					t.Errorf("%d refused, %d one after another, %d of 100 delivered", e.refused, e.worst, m.done())
				}
			})
		})
	}
}

// account is one service to which several outputs deliver.
type account struct{ *enforcer }

func (account) Account() [sha256.Size]byte { return sha256.Sum256([]byte("webhook")) }

// Outputs with one webhook share what it takes; and what it asks of one, it asks of
// all.
func TestSharedPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := []outputs.Rate{{Messages: 1, Per: time.Second}}
		e := &enforcer{rates: slack, delay: func(n int) time.Duration { return time.Duration(n*7919%400) * time.Millisecond }}
		e.taken = append(e.taken, time.Now()) // somebody else's: the first is refused
		var streams []*memory
		var targets []Target
		for i := range 3 {
			m := newMemory(several("a", 20)...)
			streams = append(streams, m)
			targets = append(targets, Target{
				Name: fmt.Sprint("x", i), Output: account{e}, Alerts: m,
				Limits: outputs.Limits{BatchEvents: 1, Rates: slack},
			})
		}
		_, stop := running(t, &letters{}, targets...)
		time.Sleep(2 * time.Minute)
		stop()
		if e.refused != 1 {
			t.Errorf("%d refused, %d one after another", e.refused, e.worst)
		}
		for i, m := range streams {
			if m.done() != 20 {
				t.Errorf("output %d delivered %d of 20", i, m.done())
			}
		}
	})
}

func TestPacer(t *testing.T) {
	start := time.Now()
	p := pacer{rates: []outputs.Rate{{Messages: 3, Per: time.Second}}}
	var waits []time.Duration
	now := start
	for range 7 {
		now = latest(now, p.next(now))
		waits = append(waits, now.Sub(start))
		p.sentOne(now, 0)
	}
	if got, want := fmt.Sprint(waits), "[0s 0s 0s 1s 1s 1s 2s]"; got != want || len(p.sent) != 3 {
		t.Errorf("sent at %s, want %s; %d remembered", got, want, len(p.sent))
	}
	p.sentOne(now, 1000*time.Hour)
	if got := p.next(now).Sub(now); got != maxRetryAfter {
		t.Errorf("waits %v", got)
	}
}
