package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
)

const (
	spareInterval = time.Second // how old the number of bytes that are held may be
	// letterOverhead is what the store takes for a message besides its body, about.
	letterOverhead = 200

	lostInterval = time.Minute // at most so often the log tells of lost dead letters
)

// DeadLetter is an event that an output refused for good.
type DeadLetter struct {
	Output string       `json:"output"`
	Reason string       `json:"reason"`
	Time   time.Time    `json:"time"` // of the refusal, UTC
	Event  schema.Event `json:"event"`
}

// setAside keeps what is stored and cannot be decoded for a human to look at, if
// that is possible.
func (q *Queue) setAside(ctx context.Context, output string, data []byte, cause error, log *slog.Logger) bool {
	log.Error("stored event cannot be decoded, set aside", "error", cause, "bytes", len(data))
	letter := &nats.Msg{
		Subject: letterSubject(output), Data: data,
		Header: nats.Header{headerReason: []string{cause.Error()}},
	}
	if _, err := q.js.PublishMsg(ctx, letter); err != nil {
		log.Error("setting aside failed", "error", err)
		return false
	}
	return true
}

// DeadLetter keeps an event that output refused for good. An event that was kept
// for the same output within two minutes is not kept twice.
func (q *Queue) DeadLetter(ctx context.Context, output, reason string, at time.Time, event schema.Event) error {
	_, err := q.storeLetter(ctx, output, reason, at, event)
	return err
}

// Spare is DeadLetter as long as no other dead letter has to give way for it.
func (q *Queue) Spare(ctx context.Context, output, reason string, at time.Time, event schema.Event) (kept bool, err error) {
	s := &q.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) >= spareInterval {
		stream, err := q.js.Stream(ctx, deadLetters)
		if err != nil {
			return false, fmt.Errorf("look for space for a dead letter: %w", err)
		}
		s.looked, s.free = time.Now(), deadLetterBytes-MaxMessageBytes-int64(stream.CachedInfo().State.Bytes)
	}
	if s.free <= 0 {
		return false, nil
	}
	size, err := q.storeLetter(ctx, output, reason, at, event)
	s.free -= int64(size)
	return err == nil, err
}

// spare is how much room there is for dead letters.
type spare struct {
	mu     sync.Mutex
	looked time.Time // guarded by mu
	free   int64     // guarded by mu; bytes
}

func (q *Queue) storeLetter(ctx context.Context, output, reason string, at time.Time, event schema.Event) (size int, err error) {
	body, err := json.Marshal(DeadLetter{Output: output, Reason: reason, Time: at.UTC(), Event: event})
	if err != nil {
		return 0, fmt.Errorf("encode dead letter: %w", err)
	}
	_, err = q.js.Publish(ctx, letterSubject(output), body, jetstream.WithMsgID(output+"/"+event.ID))
	if err != nil {
		return 0, fmt.Errorf("store dead letter: %w", err)
	}
	return len(body) + letterOverhead, nil
}

// letterCount tells dead letters that gave way to newer ones from those that were
// removed on purpose, since this process began.
type letterCount struct {
	gone    uint64 // before; never changed after the start
	removed atomic.Uint64
}

func (c *letterCount) begin(state jetstream.StreamState) { c.gone = state.LastSeq - state.Msgs }

func (c *letterCount) lost(state jetstream.StreamState) uint64 {
	gone, known := state.LastSeq-state.Msgs, c.gone+c.removed.Load()
	if gone > known {
		return gone - known
	}
	return 0
}

// letterWatch tells of dead letters that gave way to newer ones.
type letterWatch struct {
	q      *Queue
	looked time.Time
	lost   uint64
}

func (w *letterWatch) look(ctx context.Context, now time.Time) {
	if now.Sub(w.looked) < lostInterval {
		return
	}
	w.looked = now
	stream, err := w.q.js.Stream(ctx, deadLetters)
	if err != nil {
		return // what else needs the store tells
	}
	lost := w.q.letters.lost(stream.CachedInfo().State)
	if lost > w.lost {
		w.q.log.Warn("dead letters gave way to newer ones and are lost",
			"dead_letters", lost-w.lost, "limit_bytes", deadLetterBytes)
	}
	w.lost = lost
}
