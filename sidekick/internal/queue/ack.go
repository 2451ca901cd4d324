package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// What a consumer is told of a message that it delivered.
const (
	ack        = "+ACK"
	nak        = "-NAK"
	inProgress = "+WPI"
)

const (
	heartbeatInterval = time.Second            // how often acknowledgements are repeated and progress is told
	ackAttempt        = 2 * time.Second        // until an acknowledgement that was not confirmed is sent again
	ackPause          = 100 * time.Millisecond // before that, where nobody took it
)

// delivery is what a consumer's server must be told to know which one is meant.
type delivery struct {
	sequence uint64 // of the consumer
	heard    uint32 // seconds of the clock: when the server last heard of it
	times    uint16 // that the message was delivered, at most
	acked    bool   // and not confirmed
}

// replies makes the subjects on which a consumer takes acknowledgements. To keep the
// subject of each event that is held would take more room than all else of it.
type replies struct {
	head string // "$JS.ACK.<stream>.<consumer>", in front of it the domain and account if the server says so
	tail string // what follows the five numbers
}

// parse reads a subject: head, times delivered, sequence of the stream and of the
// consumer, time, pending (NATS ADR-15; the client library has no more than this to
// go by either).
func (r *replies) parse(subject string) (seq uint64, d delivery, err error) {
	words := strings.Split(subject, ".")
	n := 4
	if len(words) >= 11 {
		n = 6
	}
	if len(words) < n+5 || words[0] != "$JS" || words[1] != "ACK" {
		return 0, delivery{}, fmt.Errorf("reply %q is not that of a consumer", subject)
	}
	times, err1 := strconv.ParseUint(words[n], 10, 64)
	seq, err2 := strconv.ParseUint(words[n+1], 10, sequenceBits)
	of, err3 := strconv.ParseUint(words[n+2], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return 0, delivery{}, fmt.Errorf("reply %q is not that of a consumer: %w", subject, err)
	}
	end := 0
	for _, w := range words[:n] {
		end += len(w) + 1
	}
	r.head, r.tail = subject[:end-1], ""
	if len(words) > n+5 {
		r.tail = "." + strings.Join(words[n+5:], ".")
	}
	return seq, delivery{sequence: of, times: uint16(min(times, math.MaxUint16)), heard: clock()}, nil
}

func (r *replies) subject(seq uint64, d delivery) string {
	text := make([]byte, 0, len(r.head)+len(r.tail)+48)
	text = append(append(text, r.head...), '.')
	text = append(strconv.AppendUint(text, uint64(d.times), 10), '.')
	text = append(strconv.AppendUint(text, seq, 10), '.')
	text = append(strconv.AppendUint(text, d.sequence, 10), '.')
	text = append(text, "0.0"...)
	return string(append(text, r.tail...))
}

// clock gives seconds. Only how many there are between two times counts.
func clock() uint32 { return uint32(time.Now().Unix()) }

// Ack says that events need not come again. They may be any of those that were read,
// in any order. When it returns nil a kill of this process does not bring them back,
// unless more were acknowledged in the last moments, and in more places, than are kept.
// After an error they are acknowledged as soon as that is possible.
func (c *Consumer) Ack(ctx context.Context, numbers ...uint64) error {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	seqs := c.ackable(numbers)
	for {
		err := c.acknowledge(ctx, seqs)
		if err == nil {
			return c.storeRecent(ctx, seqs)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("acknowledge for %s: %w", c.name, err)
		case <-time.After(ackPause):
		}
	}
}

// ackable notes that these are acknowledged and gives their sequences.
func (c *Consumer) ackable(numbers []uint64) []uint64 {
	seqs := make([]uint64, 0, len(numbers))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, number := range numbers {
		seq, current := c.sequence(number)
		if d, held := c.held[seq]; held && current {
			d.acked = true
			c.held[seq] = d
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

// acknowledge tells the server of these and forgets them when it has confirmed the
// last: it takes them in order. Only over a new connection some may be lost before it.
func (c *Consumer) acknowledge(ctx context.Context, seqs []uint64) error {
	connection := c.q.conn.Stats().Reconnects
	subjects := c.ackSubjects(seqs)
	if len(subjects) == 0 {
		return nil
	}
	last := len(subjects) - 1
	for _, subject := range subjects[:last] {
		if err := c.q.conn.Publish(subject, []byte(ack)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, ackAttempt)
	defer cancel()
	if _, err := c.q.conn.RequestWithContext(ctx, subjects[last], []byte(ack)); err != nil {
		return fmt.Errorf("not confirmed: %w", err)
	}
	if c.q.conn.Stats().Reconnects != connection {
		return errors.New("not confirmed: the connection is a new one")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, seq := range seqs {
		if c.held[seq].acked {
			delete(c.held, seq)
		}
	}
	return nil
}

func (c *Consumer) ackSubjects(seqs []uint64) []string {
	subjects := make([]string, 0, len(seqs))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, seq := range seqs {
		if d, held := c.held[seq]; held && d.acked {
			subjects = append(subjects, c.replies.subject(seq, d))
			d.heard = clock()
			c.held[seq] = d
		}
	}
	return subjects
}

// heartbeats tells the server of what is held for long that it still is, and repeats
// acknowledgements that were not confirmed, until ctx ends.
func (c *Consumer) heartbeats(ctx context.Context) {
	tick := time.NewTicker(min(heartbeatInterval, c.q.ackWait()/6))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.checkRedelivery(ctx)
			if late := c.progress(); len(late) > 0 {
				if err := c.acknowledge(ctx, late); err != nil && ctx.Err() == nil {
					c.log.Debug("events are not acknowledged yet", "events", len(late), "reason", err)
				}
			}
		}
	}
}

// progress tells of what is held, and gives what is acknowledged and not confirmed
// for long.
func (c *Consumer) progress() (late []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, wait := clock(), uint32(c.q.ackWait()/(3*time.Second))
	for seq, d := range c.held {
		switch {
		case d.acked && now-d.heard >= uint32(2*ackAttempt/time.Second):
			late = append(late, seq)
		case !d.acked && now-d.heard >= wait:
			if c.q.conn.Publish(c.replies.subject(seq, d), []byte(inProgress)) == nil {
				d.heard = now
				c.held[seq] = d
			}
		}
	}
	return late
}
