package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
)

// Event gives an event once more, with its size as stored. The error matches
// fs.ErrNotExist when it is not held any more, by the stream or by this consumer.
func (c *Consumer) Event(ctx context.Context, number uint64) (event schema.Event, size int, err error) {
	c.mu.Lock()
	seq, current := c.sequence(number)
	c.mu.Unlock()
	if !current {
		return schema.Event{}, 0, fmt.Errorf("read event of %s: its consumer is gone: %w", c.stream, fs.ErrNotExist)
	}
	return c.q.event(ctx, c.stream, seq)
}

func (q *Queue) event(ctx context.Context, s Stream, seq uint64) (event schema.Event, size int, err error) {
	stream, err := q.js.Stream(ctx, string(s))
	if err != nil {
		return schema.Event{}, 0, fmt.Errorf("read event %d of %s: %w", seq, s, err)
	}
	msg, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return schema.Event{}, 0, fmt.Errorf("read event %d of %s: %w", seq, s, err)
	}
	if err := event.UnmarshalJSON(msg.Data); err != nil {
		return schema.Event{}, 0, fmt.Errorf("read event %d of %s: %w", seq, s, err)
	}
	return event, len(msg.Data), nil
}
