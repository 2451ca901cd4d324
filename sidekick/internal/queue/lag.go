package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
)

// An output that does not keep up must not fill the stream for all others. Where a
// stream is fuller than lagFrom while some output keeps up, the oldest events leave
// the backlog of those that do not, until it is as full as lagTo: that is the lag
// that an output may have. Shares are in eighths of the stream's limit.
const (
	lagFrom = 6
	lagTo   = 5
	// Where events do not leave as fast as others come, these wait.
	waitFrom = 7

	// An output keeps up that has all but one in so many of the events that others
	// do not.
	keepsUp = 20

	lagInterval = time.Minute // at most so often the log tells of it

	// pressureWait is how long events may wait for room.
	pressureWait  = 5 * time.Second
	pressureCheck = 10 * time.Millisecond
)

// progress is how far an output is in a stream, at all processes together.
type progress struct {
	floor      uint64 // the last sequence up to which everything is acknowledged
	delivered  uint64 // the last sequence that was read
	ackPending int    // read, and not acknowledged
	pending    int    // not acknowledged, read or not
}

func progressOf(info *jetstream.ConsumerInfo) progress {
	return progress{
		floor: info.AckFloor.Stream, delivered: info.Delivered.Stream, ackPending: info.NumAckPending,
		pending: int(info.NumPending) + info.NumAckPending,
	}
}

// behind gives how many events up to a sequence are not acknowledged, or a few more.
func (p progress) behind(first, upTo uint64) (n uint64) {
	floor := max(p.floor, first-1)
	if read := min(upTo, p.delivered); read > floor {
		n = min(uint64(p.ackPending), read-floor)
	}
	if read := max(floor, p.delivered); upTo > read {
		n += upTo - read
	}
	return n
}

// outputs gives how far each output of a stream is. It asks for each by name: a list
// leaves out those that do not answer in time.
func outputs(ctx context.Context, stream jetstream.Stream) (map[string]progress, error) {
	all := map[string]progress{}
	names := stream.ConsumerNames(ctx)
	for name := range names.Name() {
		consumer, err := stream.Consumer(ctx, name)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue // forgotten just now
		}
		if err != nil {
			return nil, fmt.Errorf("look at output %s: %w", name, err)
		}
		if info := consumer.CachedInfo(); info.Config.Durable != "" { // else see newest
			all[name] = progressOf(info)
		}
	}
	if err := names.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("list outputs: %w", err)
	}
	return all, nil
}

// deliveredTo gives the last sequence that every output has acknowledged, whoever
// reads for it; math.MaxUint64 when there is no output.
func deliveredTo(all map[string]progress) uint64 {
	lowest := uint64(math.MaxUint64)
	for _, p := range all {
		lowest = min(lowest, p.floor)
	}
	return lowest
}

// Pending is how many events of the stream the output has yet to acknowledge, at all
// processes together.
func (c *Consumer) Pending(ctx context.Context) (int, error) {
	stream, err := c.q.js.Stream(ctx, string(c.stream))
	if err != nil {
		return 0, fmt.Errorf("count what is left for %s: %w", c.name, err)
	}
	consumer, err := stream.Consumer(ctx, c.name)
	if err != nil {
		return 0, fmt.Errorf("count what is left for %s: %w", c.name, err)
	}
	return progressOf(consumer.CachedInfo()).pending, nil
}

// pressure is how full a stream is.
type pressure struct {
	leaving atomic.Bool // events leave a backlog, and it is still too full
	full    atomic.Bool // and nothing will change that soon
}

// lag is up to where events have left an output's backlog.
type lag struct {
	mu      sync.Mutex
	upTo    uint64        // guarded by mu
	changed chan struct{} // guarded by mu; closed when upTo changes
}

// Behind gives the number up to which events are not to be delivered any more, and
// what is closed when there is another one. They are still to be acknowledged.
func (c *Consumer) Behind() (upTo uint64, changed <-chan struct{}) {
	upTo, changed = c.lag.get()
	c.mu.Lock()
	defer c.mu.Unlock()
	if upTo == 0 {
		return 0, changed
	}
	return c.numbered(upTo), changed
}

func (l *lag) get() (uint64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.upTo, l.changed
}

func (l *lag) set(upTo uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if upTo <= l.upTo {
		return
	}
	l.upTo = upTo
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// relieve has events leave the backlogs of outputs that do not keep up, if it must.
func (t *trimmer) relieve(state jetstream.StreamState, all map[string]progress, now time.Time) {
	limit := t.q.limits[t.stream] / 8
	p := t.q.pressure[t.stream]
	p.full.Store(int64(state.Bytes) > 8*limit-MaxMessageBytes)
	p.leaving.Store(false)
	if int64(state.Bytes) <= lagFrom*limit {
		return
	}
	upTo := excess(state, lagTo*limit)
	some := false
	var late []*Consumer
	for _, c := range t.q.consumersOf(t.stream) {
		of, known := all[c.name]
		if !known {
			continue
		}
		behind := of.behind(state.FirstSeq, upTo)
		if t.q.cluster == nil { // nobody else holds some
			behind = min(behind, c.heldTo(upTo)+of.behind(max(of.delivered+1, state.FirstSeq), upTo))
		}
		some = some || behind*keepsUp <= upTo-state.FirstSeq+1
		if behind > 0 {
			late = append(late, c)
		}
	}
	if !some || len(late) == 0 {
		return
	}
	for _, c := range late {
		c.lag.set(upTo)
		if now.Sub(t.told) >= lagInterval {
			c.log.Warn("output does not keep up with others, its oldest events leave its backlog")
		}
	}
	if now.Sub(t.told) >= lagInterval {
		t.told = now
	}
	p.leaving.Store(int64(state.Bytes) > waitFrom*limit)
}

// heldTo gives how many events up to a sequence were read here and not acknowledged.
func (c *Consumer) heldTo(upTo uint64) (n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for seq, d := range c.held {
		if seq <= upTo && !d.acked {
			n++
		}
	}
	return n
}

// Store is the queue for those who post. While events leave a backlog they wait for
// the room; where alerts have none, logs are refused first.
type Store struct{ *Queue }

// Publish is Queue's.
func (s Store) Publish(ctx context.Context, events []schema.Packed, once bool) error {
	s.watchDisk() // what makes it tight may have been delivered
	s.wait(ctx)
	if s.diskTight.Load() || s.pressure[Alerts].full.Load() && !s.pressure[Alerts].leaving.Load() {
		return s.withoutLogs(ctx, events, once)
	}
	return s.Queue.Publish(ctx, events, once)
}

func (s Store) wait(ctx context.Context) {
	end := time.Now().Add(pressureWait)
	for s.pressure[Alerts].leaving.Load() || s.pressure[Logs].leaving.Load() {
		if ctx.Err() != nil || time.Now().After(end) {
			return // the store says what becomes of it
		}
		time.Sleep(pressureCheck)
	}
}

// withoutLogs stores alerts and refuses logs.
func (s Store) withoutLogs(ctx context.Context, events []schema.Packed, once bool) error {
	failed := map[int]error{}
	var some []schema.Packed
	var at []int
	for i := range events {
		if streamOf(events[i].Kind) == Logs {
			failed[i] = ErrFull
			continue
		}
		some, at = append(some, events[i]), append(at, i)
	}
	s.refusedLogs.Add(int64(len(failed)))
	if len(some) > 0 {
		err := s.Queue.Publish(ctx, some, once)
		refused, ok := errors.AsType[*PublishError](err)
		if err != nil && !ok {
			return err
		}
		if ok {
			for i, err := range refused.Failed {
				failed[at[i]] = err
			}
		}
	}
	if len(failed) > 0 {
		return &PublishError{Failed: failed}
	}
	return nil
}
