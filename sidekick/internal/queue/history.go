package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
)

// History is how much of what was delivered stays for a look at the past. It takes no
// space that events to be delivered need: they are in the same streams, and delivered
// ones go first. A cluster keeps none on purpose.
type History struct {
	MaxAge   time.Duration // after the delivery to every output; 0 for no history
	MaxBytes int64         // of both streams together; 0 for no history
}

// history bounds what stays.
type history struct {
	age   time.Duration
	bytes int64
	slot  chan struct{} // held by whoever reads

	mu   sync.Mutex
	held map[Stream]int64 // guarded by mu; bytes in each stream at the last look
}

func newHistory(opts Options) *history {
	h := &history{slot: make(chan struct{}, 1), held: map[Stream]int64{}}
	if opts.Cluster == nil && opts.History.MaxAge > 0 && opts.History.MaxBytes > 0 {
		h.age, h.bytes = opts.History.MaxAge, opts.History.MaxBytes
	}
	return h
}

// share gives how many bytes of a stream may be history: half of all, and what the
// other stream leaves.
func (h *history) share(s Stream, holds int64) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[s] = holds
	other := Logs
	if s == Logs {
		other = Alerts
	}
	return max(h.bytes/2, h.bytes-h.held[other])
}

// historyWait is how long the store may take to give the next event.
const historyWait = ackTimeout

// Since hands over the events that were stored since a time and are still held,
// delivered or not, in the order of their storing. Those that are stored meanwhile are
// not among them. One caller reads at a time; the others wait.
func (q *Queue) Since(ctx context.Context, since time.Time, found func(schema.Event) error) error {
	select {
	case q.history.slot <- struct{}{}:
		defer func() { <-q.history.slot }()
	case <-ctx.Done():
		return fmt.Errorf("wait to read stored events: %w", ctx.Err())
	}
	var heads [2]*cursor
	for i, s := range []Stream{Alerts, Logs} {
		c, err := q.cursorSince(ctx, s, since)
		if err != nil {
			return fmt.Errorf("read stored events of %s: %w", s, err)
		}
		defer c.close()
		if err := c.advance(ctx); err != nil {
			return fmt.Errorf("read stored events of %s: %w", s, err)
		}
		heads[i] = c
	}
	for {
		c := heads[0]
		if c.msg == nil || heads[1].msg != nil && heads[1].at.Before(c.at) {
			c = heads[1]
		}
		if c.msg == nil {
			return nil
		}
		var e schema.Event
		// What cannot be decoded becomes a dead letter when an output comes to it.
		if err := e.UnmarshalJSON(c.msg.Data); err == nil && c.msg.Header.Get(headerOnly) == "" {
			if err := found(e); err != nil {
				return err
			}
		}
		if err := c.advance(ctx); err != nil {
			return fmt.Errorf("read stored events of %s: %w", c.stream, err)
		}
	}
}

// cursor reads what a stream held at a time, once, from the oldest on.
type cursor struct {
	q      *Queue
	stream Stream
	last   uint64 // the last sequence to be read

	consumer string  // its name in the store, "" where there is nothing to read
	pull     *puller // nil likewise

	msg *nats.Msg // the one that it is at; nil after the last
	seq uint64
	at  time.Time // when that was stored
}

func (q *Queue) cursorSince(ctx context.Context, s Stream, since time.Time) (*cursor, error) {
	return q.cursor(ctx, s, func(jetstream.StreamState) jetstream.ConsumerConfig {
		return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since}
	})
}

// cursor begins where from says.
func (q *Queue) cursor(ctx context.Context, s Stream, from func(jetstream.StreamState) jetstream.ConsumerConfig) (*cursor, error) {
	stream, err := q.js.Stream(ctx, string(s))
	if err != nil {
		return nil, err
	}
	state := stream.CachedInfo().State
	c := &cursor{q: q, stream: s, last: state.LastSeq}
	if state.Msgs == 0 {
		return c, nil
	}
	cfg := from(state)
	cfg.AckPolicy, cfg.MemoryStorage = jetstream.AckNonePolicy, true
	consumer, err := stream.CreateConsumer(ctx, cfg)
	if err != nil {
		return nil, err
	}
	c.consumer = consumer.CachedInfo().Name
	if consumer.CachedInfo().NumPending > 0 {
		c.pull, err = newPuller(q.conn, Stream(stream.CachedInfo().Config.Name), c.consumer)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// advance goes to the next message.
func (c *cursor) advance(ctx context.Context) error {
	c.msg = nil
	if c.pull == nil || c.seq >= c.last {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, historyWait)
	defer cancel()
	msg, err := c.pull.next(bounded)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return c.nothingLeft(ctx)
	}
	if err != nil {
		return err
	}
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	if !c.pull.follows(meta.Sequence.Consumer) {
		return errors.New("events were dropped on their way")
	}
	if meta.Sequence.Stream <= c.last { // else the last ones were removed meanwhile
		c.msg, c.at = msg, meta.Timestamp
	}
	c.seq = meta.Sequence.Stream
	return nil
}

// nothingLeft is nil when what was to come is no more.
func (c *cursor) nothingLeft(ctx context.Context) error {
	stream, err := c.q.js.Stream(ctx, string(c.stream))
	if err != nil {
		return err
	}
	if stream.CachedInfo().State.FirstSeq > c.last {
		return nil
	}
	return nats.ErrTimeout
}

// close removes the cursor from the store, which forgets one by itself that is not used
// for five minutes.
func (c *cursor) close() {
	if c.pull != nil {
		c.pull.close()
	}
	if c.consumer == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), ackAttempt) // whoever reads may be gone
	defer cancel()
	if stream, err := c.q.js.Stream(ctx, string(c.stream)); err == nil {
		_ = stream.DeleteConsumer(ctx, c.consumer)
	}
}
