package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
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
	body, err := json.Marshal(DeadLetter{Output: output, Reason: reason, Time: at.UTC(), Event: event})
	if err != nil {
		return fmt.Errorf("encode dead letter: %w", err)
	}
	_, err = q.js.Publish(ctx, letterSubject(output), body, jetstream.WithMsgID(output+"/"+event.ID))
	if err != nil {
		return fmt.Errorf("store dead letter: %w", err)
	}
	return nil
}
