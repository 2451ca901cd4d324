package dispatch

import (
	"time"

	"github.com/sidearmor/sidearmor/outputs"
)

// pacer keeps a service's rates. It counts from when a message was answered: it
// came before that, and the next comes after it was sent, so that no delay of the
// network makes two come nearer to each other than they were sent.
type pacer struct {
	rates []outputs.Rate
	sent  []time.Time // the last ones, as many as the largest rate looks at
	until time.Time   // what the service itself asked for
}

// next is when a message may go out.
func (p *pacer) next() time.Time {
	at := p.until
	for _, r := range p.rates {
		if n := len(p.sent) - r.Messages; r.Messages > 0 && n >= 0 {
			at = later(at, p.sent[n].Add(r.Per))
		}
	}
	return at
}

// note counts a message, after which the service asked for a pause.
func (p *pacer) note(now time.Time, pause time.Duration) {
	if pause > 0 {
		p.until = later(p.until, now.Add(min(pause, maxRetryAfter)))
	}
	most := 0
	for _, r := range p.rates {
		most = max(most, r.Messages)
	}
	p.sent = append(p.sent, now)
	p.sent = append(p.sent[:0:0], p.sent[max(0, len(p.sent)-most):]...)
}
