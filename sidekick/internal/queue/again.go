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
// fs.ErrNotExist when it is not held any more.
func (r *Reader) Event(ctx context.Context, seq uint64) (event schema.Event, size int, err error) {
	return r.q.event(ctx, r.stream, seq)
}

// Event gives an event once more, with its size as stored. The error matches
// fs.ErrNotExist when it is not held any more, by the stream or by this member.
func (m *Member) Event(ctx context.Context, seq uint64) (event schema.Event, size int, err error) {
	m.mu.Lock()
	of, current := m.sequence(seq)
	m.mu.Unlock()
	if !current {
		return schema.Event{}, 0, fmt.Errorf("read event of %s: its consumer is gone: %w", m.stream, fs.ErrNotExist)
	}
	return m.q.event(ctx, m.stream, of)
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
