package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ages remembers when the oldest event was stored that an output has yet to
// acknowledge. An output that stands still costs a scrape nothing.
type ages struct {
	mu    sync.Mutex
	known map[ageKey]stored // guarded by mu
}

type ageKey struct {
	output string
	stream Stream
}

type stored struct {
	seq uint64
	at  time.Time
}

// oldest is the age of the oldest event that an output has yet to acknowledge, 0
// if there is none.
func (q *Queue) oldest(ctx context.Context, key ageKey, stream jetstream.Stream, p progress, now time.Time) (time.Duration, error) {
	if p.pending == 0 {
		return 0, nil
	}
	seq := max(p.floor+1, stream.CachedInfo().State.FirstSeq)
	a := &q.ages
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known[key].seq != seq {
		msg, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(q.stored(key.stream.subject())))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return 0, nil // delivered and freed since
		}
		if err != nil {
			return 0, err
		}
		if a.known == nil {
			a.known = map[ageKey]stored{}
		}
		a.known[key] = stored{seq: seq, at: msg.Time}
	}
	return max(0, now.Sub(a.known[key].at)), nil
}
