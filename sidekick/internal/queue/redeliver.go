package queue

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// purgeAfter is for how long nothing is removed from a store of our own while events
// are to come again.
const purgeAfter = 5 * time.Second

// redelivery is what of a consumer is still to come again. The server forgets what it
// has to deliver again when its stream is purged (nats-server 2.15.2, consumer.purge),
// until AckWait is over; until then it holds the floor of its stream.
type redelivery struct {
	expected int       // events
	since    time.Time // when they were asked for
	arrivals uint64    // of the consumer
	seen     uint64    // arrivals at the last look
}

// redeliver has the server give again at once, in order and before anything new, what
// was read before this process began and was not acknowledged. The server knows what
// that is; it passes over what it is asked for beyond.
func (c *Consumer) redeliver(ctx context.Context, info *jetstream.ConsumerInfo) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	missing := info.NumAckPending - len(c.held)
	if missing <= 0 {
		c.redelivery.expected = 0
		return nil
	}
	if c.redelivery.expected <= 0 {
		c.redelivery.since = time.Now()
	}
	c.redelivery.expected = missing
	last := ""
	for seq := info.AckFloor.Stream + 1; seq <= info.Delivered.Stream; seq++ {
		if _, here := c.held[seq]; here {
			continue
		}
		if last != "" {
			if err := c.q.conn.Publish(last, []byte(nak)); err != nil {
				return err
			}
		}
		last = c.replies.subject(seq, delivery{sequence: info.Delivered.Consumer, times: 1})
	}
	if last == "" {
		return nil
	}
	_, err := c.q.conn.RequestWithContext(ctx, last, []byte(nak)) // the answer comes when all are taken in
	return err
}

// checkRedelivery asks once more for what did not come again.
func (c *Consumer) checkRedelivery(ctx context.Context) {
	c.mu.Lock()
	r := c.redelivery
	c.redelivery.seen = r.arrivals
	c.mu.Unlock()
	if c.q.cluster != nil || r.expected <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ackAttempt)
	defer cancel()
	stream, err := c.q.js.Stream(ctx, string(c.stream))
	if err != nil {
		return // what else needs the store tells
	}
	consumer, err := stream.Consumer(ctx, c.name)
	if err != nil {
		return
	}
	info := consumer.CachedInfo()
	c.mu.Lock()
	come := info.NumAckPending <= len(c.held)
	if come {
		c.redelivery.expected = 0
	}
	idle := c.redelivery.arrivals == r.seen && len(c.buffer) == 0
	c.mu.Unlock()
	if come || !idle {
		return
	}
	if err := c.redeliver(ctx, info); err != nil {
		c.log.Debug("events that are to come again cannot be asked for yet", "reason", err)
	}
}

// redelivering says whether events of a stream are still to come again.
func (q *Queue) redelivering(s Stream) bool {
	if q.cluster != nil {
		return false
	}
	for _, c := range q.consumersOf(s) {
		c.mu.Lock()
		r := c.redelivery
		c.mu.Unlock()
		if r.expected > 0 && time.Since(r.since) < purgeAfter {
			return true
		}
	}
	return false
}
