package queue

import (
	"context"
	"errors"
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

	// roomWait is how long events may wait for room.
	roomWait  = 5 * time.Second
	roomCheck = 10 * time.Millisecond
)

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

// Behind gives the sequence up to which events are not to be delivered any more, and
// what is closed when there is another one. They are still to be acknowledged.
func (r *Reader) Behind() (upTo uint64, changed <-chan struct{}) { return r.lag.get() }

// Behind gives the sequence up to which events are not to be delivered any more, and
// what is closed when there is another one. They are still to be acknowledged.
func (m *Member) Behind() (upTo uint64, changed <-chan struct{}) {
	upTo, changed = m.lag.get()
	m.mu.Lock()
	defer m.mu.Unlock()
	if upTo == 0 {
		return 0, changed
	}
	return m.numbered(upTo), changed
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

// behind gives how many events up to a sequence are not acknowledged.
func (r *Reader) behind(state jetstream.StreamState, upTo uint64) (n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.pos.open {
		if a.from <= upTo {
			n += min(a.to, upTo) - a.from + 1
		}
	}
	if next := max(r.pos.last+1, state.FirstSeq); upTo >= next {
		n += upTo - next + 1
	}
	return n
}

// relieve has events leave the backlogs of outputs that do not keep up, if it must.
func (t *trimmer) relieve(ctx context.Context, stream jetstream.Stream, state jetstream.StreamState, now time.Time) {
	limit := t.q.limits[t.stream] / 8
	p := t.q.pressure[t.stream]
	p.full.Store(int64(state.Bytes) > 8*limit-MaxMessageBytes)
	p.leaving.Store(false)
	if int64(state.Bytes) <= lagFrom*limit {
		return
	}
	upTo := excess(state, lagTo*limit)
	late := map[string]*lag{}
	some := false
	for name, b := range t.backlogs(ctx, stream, state, upTo) {
		some = some || b.events*keepsUp <= upTo-state.FirstSeq+1
		if b.events > 0 {
			late[name] = b.lag
		}
	}
	if !some || len(late) == 0 {
		return
	}
	for name, l := range late {
		l.set(upTo)
		if now.Sub(t.told) >= lagInterval {
			t.q.log.Warn("output does not keep up with others, its oldest events leave its backlog", "output", name, "stream", string(t.stream))
		}
	}
	if now.Sub(t.told) >= lagInterval {
		t.told = now
	}
	p.leaving.Store(int64(state.Bytes) > waitFrom*limit)
}

// backlog is what an output has yet to acknowledge of the oldest events.
type backlog struct {
	lag    *lag
	events uint64
}

// backlogs gives those of all outputs that are read for here.
func (t *trimmer) backlogs(ctx context.Context, stream jetstream.Stream, state jetstream.StreamState, upTo uint64) map[string]backlog {
	all := map[string]backlog{}
	for _, r := range t.q.readersOf(t.stream) {
		all[r.name] = backlog{lag: &r.lag, events: r.behind(state, upTo)}
	}
	for _, m := range t.q.membersOf(t.stream) {
		p, err := m.progress(ctx, stream)
		if err != nil {
			continue // its cluster is choosing a leader
		}
		b := backlog{lag: &m.lag}
		if floor := max(p.floor, state.FirstSeq-1); floor < upTo {
			b.events = min(upTo-floor, uint64(p.pending))
		}
		all[m.name] = b
	}
	return all
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
	end := time.Now().Add(roomWait)
	for s.pressure[Alerts].leaving.Load() || s.pressure[Logs].leaving.Load() {
		if ctx.Err() != nil || time.Now().After(end) {
			return // the store says what becomes of it
		}
		time.Sleep(roomCheck)
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
