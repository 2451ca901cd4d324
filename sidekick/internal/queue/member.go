package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
)

const (
	// memberWait is after how long without a word from a member what it holds goes
	// to another. A member gives word three times as often.
	memberWait = time.Minute

	// A consumer that no member has asked for so long is forgotten, so that it
	// does not hold events for ever.
	forgetAfter = 7 * 24 * time.Hour

	// groupPull is what a member reads ahead: enough for tens of thousands of events
	// a second at a millisecond a request, and little to wait for a member whose
	// receiver hangs.
	groupPull = 64

	// maxHeld is what all members together may hold of a stream for an output: two
	// with as many events in open digests as a digest takes. Beyond it deliveries
	// wait until digests close. The cluster keeps some ten bytes of each.
	maxHeld = 200_000

	// sequenceBits of what Next gives are the stream's number of the event; those
	// above tell the consumer from one before it of the same name.
	sequenceBits = 48
)

// Source gives the events of one stream to one output: a *Reader or a *Member.
type Source interface {
	Next(ctx context.Context) (event schema.Event, size int, seq uint64, err error)
	Ack(ctx context.Context, seqs ...uint64) error
	Event(ctx context.Context, seq uint64) (event schema.Event, size int, err error)
	Pending(ctx context.Context) (int, error)
}

// Source gives the reader of an output, or, with a cluster, this process's member
// of the output's group.
func (q *Queue) Source(ctx context.Context, output string, s Stream) (Source, error) {
	if q.cluster == nil {
		return q.Reader(ctx, output, s)
	}
	return q.member(ctx, output, s)
}

// Member reads one stream for one output together with other processes: each event
// goes to one of them. What it holds goes to another when it is silent for a minute,
// or leaves. Next is for one goroutine; the other methods may be called from any.
type Member struct {
	q      *Queue
	stream Stream
	name   string
	log    *slog.Logger

	buffer  chan *nats.Msg // read ahead
	drained chan struct{}  // the buffer is empty
	stop    context.CancelFunc
	running sync.WaitGroup

	acks *nats.Subscription // confirmations
	to   string             // where they go, but for the number

	undecodable atomic.Int64 // events that were set aside
	lag         lag

	mu         sync.Mutex
	held       map[uint64]*holding // guarded by mu; by number of the stream
	generation uint64              // guarded by mu; of the consumer
	created    time.Time           // guarded by mu; of the consumer
}

// holding is an event that was handed to this member.
type holding struct {
	reply string
	word  time.Time // when the cluster last heard of it
	acked *acking   // nil until it is acknowledged
}

func (q *Queue) member(ctx context.Context, output string, s Stream) (*Member, error) {
	if output == "" || strings.ContainsAny(output, ".*> \t\r\n/\\") {
		return nil, fmt.Errorf("read for output %q: not a name", output)
	}
	m := &Member{
		q: q, stream: s, name: output, log: q.log.With("output", output, "stream", string(s)),
		buffer: make(chan *nats.Msg, groupPull), drained: make(chan struct{}, 1),
		to: q.conn.NewInbox(), held: map[uint64]*holding{},
	}
	var pull *puller
	err := q.waitFor(ctx, func(ctx context.Context) (err error) {
		pull, err = m.open(ctx)
		return err
	})
	if err == nil {
		m.acks, err = q.conn.Subscribe(m.to+".*", m.confirmed)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s for output %s: %w", s, output, err)
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	m.stop = stop
	m.running.Go(func() { m.fetch(life, pull) })
	m.running.Go(func() { m.keep(life) })
	q.mu.Lock()
	defer q.mu.Unlock()
	q.members = append(q.members, m)
	return m, nil
}

// membersOf gives the members that read a stream; "" for all.
func (q *Queue) membersOf(s Stream) []*Member {
	q.mu.Lock()
	defer q.mu.Unlock()
	var of []*Member
	for _, m := range q.members {
		if s == "" || m.stream == s {
			of = append(of, m)
		}
	}
	return of
}

func (m *Member) open(ctx context.Context) (*puller, error) {
	stream, err := m.q.js.Stream(ctx, string(m.stream))
	if err != nil {
		return nil, err
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:           m.name,
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		AckPolicy:         jetstream.AckExplicitPolicy,
		AckWait:           m.q.cluster.patience(),
		MaxDeliver:        -1,
		MaxAckPending:     maxHeld,
		InactiveThreshold: forgetAfter,
	})
	if err != nil {
		return nil, err
	}
	m.renew(consumer.CachedInfo().Created)
	p, err := newPuller(m.q.conn, Stream(stream.CachedInfo().Config.Name), m.name)
	if err == nil {
		p.events, p.before = groupPull, m.wanted
	}
	return p, err
}

// renew forgets what is held when the consumer is another now: its numbers may
// mean other events.
func (m *Member) renew(created time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if created.Equal(m.created) {
		return
	}
	if len(m.held) > 0 {
		m.log.Warn("the output's place in the cluster was made anew, events can come again", "held", len(m.held))
	}
	m.created, m.held = created, map[uint64]*holding{}
	m.generation++
}

// fetch reads ahead until ctx ends.
func (m *Member) fetch(ctx context.Context, pull *puller) {
	for ctx.Err() == nil {
		if pull == nil {
			pull = m.reopen(ctx)
			continue
		}
		msg, err := pull.next(ctx)
		if err == nil {
			m.arrived(ctx, msg)
			continue
		}
		if ctx.Err() == nil {
			m.log.Warn("reading the queue failed, trying again", "error", err)
		}
		m.giveBack(pull)
		pull = nil
	}
	if pull != nil {
		m.giveBack(pull)
	}
}

// giveBack ends a puller. What it has brought comes again, to this member or
// another.
func (m *Member) giveBack(pull *puller) {
	for _, msg := range pull.rest() {
		_ = m.q.conn.Publish(msg.Reply, []byte("-NAK"))
	}
	pull.close()
}

// reopen is nil when it did not succeed.
func (m *Member) reopen(ctx context.Context) *puller {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(reopenDelay):
	}
	bounded, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	pull, err := m.open(bounded)
	if err != nil && ctx.Err() == nil {
		m.log.Warn("opening the queue failed, trying again", "error", err)
	}
	return pull
}

// wanted waits until all that was read ahead is taken, so that what nobody takes
// for a while is no more than one request brings.
func (m *Member) wanted(ctx context.Context) error {
	for len(m.buffer) > 0 {
		select {
		case <-m.drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// arrived takes in a message. One that this member holds already comes a second
// time when the cluster did not hear of it for long enough.
func (m *Member) arrived(ctx context.Context, msg *nats.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		m.log.Error("message of the cluster is not one of a stream", "error", err)
		return
	}
	seq := meta.Sequence.Stream
	m.mu.Lock()
	known := m.held[seq]
	if known != nil {
		known.reply, known.word = msg.Reply, time.Now()
		m.mu.Unlock()
		return
	}
	m.held[seq] = &holding{reply: msg.Reply, word: time.Now()}
	m.mu.Unlock()
	select {
	case m.buffer <- msg: // has room: see wanted
	case <-ctx.Done():
	}
}

// Next waits for the next event and gives it with its size as stored and its
// number. The error is ctx's or that of a closed queue: trouble of the cluster is
// logged and waited out.
func (m *Member) Next(ctx context.Context) (event schema.Event, size int, seq uint64, err error) {
	for {
		select {
		case <-ctx.Done():
			return schema.Event{}, 0, 0, ctx.Err()
		case msg, ok := <-m.buffer:
			if !ok {
				return schema.Event{}, 0, 0, errors.New("queue is closed")
			}
			if len(m.buffer) == 0 {
				select {
				case m.drained <- struct{}{}:
				default:
				}
			}
			seq, ok := m.number(msg)
			if !ok {
				continue
			}
			if only := msg.Header.Get(headerOnly); only != "" && only != m.name {
				m.skip(ctx, seq)
				continue
			}
			var e schema.Event
			if err := e.UnmarshalJSON(msg.Data); err != nil {
				m.setAside(ctx, msg, seq, err)
				continue
			}
			return e, len(msg.Data), seq, nil
		}
	}
}

// number is what Next gives for a message; false when it is one of a consumer
// that is no more.
func (m *Member) number(msg *nats.Msg) (uint64, bool) {
	meta, err := msg.Metadata()
	if err != nil {
		return 0, false
	}
	seq := meta.Sequence.Stream
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.numbered(seq), m.held[seq] != nil
}

// numbered is what Next gives for a number of the stream, with mu held.
func (m *Member) numbered(seq uint64) uint64 { return m.generation<<sequenceBits | seq }

// sequence is the number of the stream, with mu held; it is not current when the
// consumer that gave the event is no more.
func (m *Member) sequence(numbered uint64) (seq uint64, current bool) {
	return numbered & (1<<sequenceBits - 1), numbered>>sequenceBits == m.generation
}

// setAside keeps what cannot be decoded for a human to look at. If that fails it
// comes again.
func (m *Member) setAside(ctx context.Context, msg *nats.Msg, seq uint64, cause error) {
	if !m.q.setAside(ctx, m.name, msg.Data, cause, m.log) {
		m.mu.Lock()
		if of, current := m.sequence(seq); current {
			delete(m.held, of)
		}
		m.mu.Unlock()
		return
	}
	m.undecodable.Add(1)
	m.skip(ctx, seq)
}

// skip acknowledges what is not for the member's user.
func (m *Member) skip(ctx context.Context, seq uint64) {
	if err := m.Ack(ctx, seq); err != nil {
		m.log.Warn("position was not stored", "error", err)
	}
}

// leave stops reading and gives what is held to the others.
func (m *Member) leave() {
	m.stop()
	m.running.Wait()
	close(m.buffer)
	m.mu.Lock()
	defer m.mu.Unlock()
	for seq, h := range m.held {
		if h.acked != nil {
			m.sendAck(seq, h)
		} else {
			_ = m.q.conn.Publish(h.reply, []byte("-NAK"))
		}
	}
	_ = m.acks.Unsubscribe() // fails on a closed connection only
}

// Pending is how many events of the stream the output has yet to acknowledge, at
// all members together.
func (m *Member) Pending(ctx context.Context) (int, error) {
	stream, err := m.q.js.Stream(ctx, string(m.stream))
	if err != nil {
		return 0, fmt.Errorf("count what is left for %s: %w", m.name, err)
	}
	p, err := m.progress(ctx, stream)
	return p.pending, err
}

// progress is how far an output is.
type progress struct {
	pending int    // not acknowledged
	floor   uint64 // last sequence up to which everything is
}

func (m *Member) progress(ctx context.Context, stream jetstream.Stream) (progress, error) {
	consumer, err := stream.Consumer(ctx, m.name)
	if err != nil {
		return progress{}, fmt.Errorf("count what is left for %s: %w", m.name, err)
	}
	info := consumer.CachedInfo()
	return progress{pending: int(info.NumPending) + info.NumAckPending, floor: info.AckFloor.Stream}, nil
}
