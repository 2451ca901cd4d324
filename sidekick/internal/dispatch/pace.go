package dispatch

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
)

// sharedPoll is how often a worker looks whether another one, whose service is the
// same, is done with its message.
const sharedPoll = 50 * time.Millisecond

// pacer keeps a service's rates for all workers that deliver to it, one message at a
// time. It counts from when a message was answered: it came before that, and the
// next comes after it was sent, so that no delay of the network makes two come
// nearer to each other than they were sent.
type pacer struct {
	rates []outputs.Rate

	mu    sync.Mutex
	sent  []time.Time // guarded by mu; the last ones, as many as the largest rate looks at
	until time.Time   // guarded by mu; what the service itself asked for
	taken bool        // guarded by mu; a message is under way
}

// pacers gives each target its pacer: those whose service counts their messages
// together share one.
func pacers(targets []Target) []*pacer {
	shared := map[[sha256.Size]byte]*pacer{}
	all := make([]*pacer, 0, len(targets))
	for _, t := range targets {
		p := &pacer{rates: t.Limits.Rates}
		if s, ok := t.Output.(outputs.Metered); ok {
			if shared[s.Account()] == nil {
				shared[s.Account()] = p
			}
			p = shared[s.Account()]
		}
		all = append(all, p)
	}
	return all
}

// next is when a message may go out.
func (p *pacer) next(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nextLocked(now)
}

func (p *pacer) nextLocked(now time.Time) time.Time {
	at := p.until
	for _, r := range p.rates {
		if n := len(p.sent) - r.Messages; r.Messages > 0 && n >= 0 {
			at = latest(at, p.sent[n].Add(r.Per))
		}
	}
	if p.taken {
		at = latest(at, now.Add(sharedPoll))
	}
	return at
}

// take says whether a message may go out now, and that it does.
func (p *pacer) take(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.nextLocked(now)) {
		return false
	}
	p.taken = len(p.rates) > 0
	return true
}

// untake is for a message that did not go out after all.
func (p *pacer) untake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = false
}

// sentOne counts the message, after which the service asked for a pause.
func (p *pacer) sentOne(now time.Time, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = false
	if pause > 0 {
		p.until = latest(p.until, now.Add(min(pause, maxRetryAfter)))
	}
	most := 0
	for _, r := range p.rates {
		most = max(most, r.Messages)
	}
	p.sent = append(p.sent, now)
	p.sent = append(p.sent[:0:0], p.sent[max(0, len(p.sent)-most):]...)
}
