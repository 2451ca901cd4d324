package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
)

// fetch reads ahead until ctx ends.
func (c *Consumer) fetch(ctx context.Context, pull *puller) {
	for ctx.Err() == nil {
		if pull == nil {
			pull = c.reopen(ctx)
			continue
		}
		msg, err := pull.next(ctx)
		if err == nil {
			err = c.arrived(ctx, pull, msg)
		}
		if err == nil {
			continue
		}
		if ctx.Err() == nil {
			c.log.Warn("reading the queue failed, trying again", "error", err)
		}
		c.giveBack(pull)
		pull = nil
	}
	if pull != nil {
		c.giveBack(pull)
	}
}

// giveBack ends a puller. What it has brought comes again, here or to another
// process.
func (c *Consumer) giveBack(pull *puller) {
	for _, msg := range pull.rest() {
		_ = c.q.conn.Publish(msg.Reply, []byte(nak))
	}
	pull.close()
}

// reopen is nil when it did not succeed.
func (c *Consumer) reopen(ctx context.Context) *puller {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(reopenDelay):
	}
	bounded, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	pull, err := c.open(bounded)
	if err != nil && ctx.Err() == nil {
		c.log.Warn("opening the queue failed, trying again", "error", err)
	}
	return pull
}

// wanted waits until all that was read ahead is taken, so that what nobody takes for
// a while is no more than one request brings.
func (c *Consumer) wanted(ctx context.Context) error {
	for len(c.buffer) > 0 {
		select {
		case <-c.drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// arrived takes in a message. One that is held here already comes a second time when
// the server did not hear of it for long enough.
func (c *Consumer) arrived(ctx context.Context, pull *puller, msg *nats.Msg) error {
	c.mu.Lock()
	seq, d, err := c.replies.parse(msg.Reply)
	if err != nil {
		c.mu.Unlock()
		return err
	}
	if c.q.cluster == nil && !pull.follows(d.sequence) {
		c.mu.Unlock()
		return errors.Join(errors.New("events were dropped on their way"), c.q.conn.Publish(msg.Reply, []byte(nak)))
	}
	c.redelivery.arrivals++
	if d.times > 1 {
		c.redelivery.expected--
	}
	if c.done[seq] {
		delete(c.done, seq)
		c.mu.Unlock()
		return c.q.conn.Publish(msg.Reply, []byte(ack))
	}
	before, known := c.held[seq]
	d.acked = before.acked
	c.held[seq] = d
	number := c.numbered(seq)
	c.mu.Unlock()
	if known {
		return nil
	}
	select {
	case c.buffer <- arrival{msg, number}: // has room: see wanted
	case <-ctx.Done():
	}
	return nil
}

// Next waits for the next event and gives it with its size as stored and its number.
// The error is ctx's or that of a closed queue: trouble of the store is logged and
// waited out.
func (c *Consumer) Next(ctx context.Context) (event schema.Event, size int, number uint64, err error) {
	for {
		select {
		case <-ctx.Done():
			return schema.Event{}, 0, 0, ctx.Err()
		case a, ok := <-c.buffer:
			if !ok {
				return schema.Event{}, 0, 0, errors.New("queue is closed")
			}
			if len(c.buffer) == 0 {
				select {
				case c.drained <- struct{}{}:
				default:
				}
			}
			msg, number := a.msg, a.number
			if !c.holds(number) {
				continue
			}
			if only := msg.Header.Get(headerOnly); only != "" && only != c.name {
				c.skip(ctx, number)
				continue
			}
			var e schema.Event
			if err := e.UnmarshalJSON(msg.Data); err != nil {
				c.setAside(ctx, msg, number, err)
				continue
			}
			return e, len(msg.Data), number, nil
		}
	}
}

// holds says whether an event is still to be acknowledged.
func (c *Consumer) holds(number uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	seq, current := c.sequence(number)
	d, held := c.held[seq]
	return held && current && !d.acked
}

// numbered is what Next gives for a sequence of the stream, with mu held.
func (c *Consumer) numbered(seq uint64) uint64 { return c.generation<<sequenceBits | seq }

// sequence is that of the stream, with mu held; it is not current when the consumer
// that gave the event is no more.
func (c *Consumer) sequence(number uint64) (seq uint64, current bool) {
	return number & (1<<sequenceBits - 1), number>>sequenceBits == c.generation
}

// setAside keeps what cannot be decoded for a human to look at. If that fails it
// comes again after a restart.
func (c *Consumer) setAside(ctx context.Context, msg *nats.Msg, number uint64, cause error) {
	if c.q.setAside(ctx, c.name, msg.Data, cause, c.log) {
		c.undecodable.Add(1)
		c.skip(ctx, number)
	}
}

// skip acknowledges what is not for the consumer's user.
func (c *Consumer) skip(ctx context.Context, number uint64) {
	if err := c.Ack(ctx, number); err != nil {
		c.log.Warn("position was not stored", "error", err)
	}
}

// leave stops reading and gives what is held to the others.
func (c *Consumer) leave() {
	c.stop()
	c.running.Wait()
	close(c.buffer)
	c.mu.Lock()
	defer c.mu.Unlock()
	for seq, d := range c.held {
		switch {
		case d.acked:
			_ = c.q.conn.Publish(c.replies.subject(seq, d), []byte(ack))
		case c.q.cluster != nil:
			_ = c.q.conn.Publish(c.replies.subject(seq, d), []byte(nak))
		}
	}
}

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
