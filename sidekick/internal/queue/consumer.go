package queue

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// In a cluster, what a process holds goes to another one when it was silent for
	// so long. In a store of our own there is no other.
	clusterAckWait = time.Minute
	ownAckWait     = 10 * time.Minute

	// A consumer in a cluster that nobody has asked for so long is forgotten, so that
	// it does not hold events for ever. In a store of our own see Keep.
	forgetAfter = 7 * 24 * time.Hour

	// maxAckPending is how many events of a stream may be read for an output and not
	// be acknowledged: two processes with as many in open digests as a digest takes.
	// Beyond it reading waits until digests close.
	maxAckPending = 200_000

	// sequenceBits of what Next gives are the stream's sequence; those above tell the
	// consumer from one before it of the same name.
	sequenceBits = 48

	// clusterPull is what is read ahead in a cluster: enough for tens of thousands of
	// events a second at a millisecond a request, and little to wait for a process whose
	// receiver hangs. Of a store of our own it is pullEvents.
	clusterPull = 64

	reopenDelay = time.Second
)

// Consumer reads one stream for one output, in order: a durable pull consumer of
// JetStream with explicit acknowledgements. Processes that share a cluster share it:
// each event goes to one of them. What was read and not acknowledged comes again
// after a restart, before what is new. Next is for one goroutine; the other methods
// may be called from any.
type Consumer struct {
	q      *Queue
	stream Stream
	name   string
	log    *slog.Logger

	buffer  chan arrival  // read ahead
	drained chan struct{} // the buffer is empty
	stop    context.CancelFunc
	running sync.WaitGroup

	undecodable atomic.Int64 // events that were set aside
	lag         lag

	storing sync.Mutex
	recent  recent // guarded by storing; see recentStream

	mu         sync.Mutex
	held       map[uint64]delivery // guarded by mu; read and not acknowledged, by sequence of the stream
	done       map[uint64]bool     // guarded by mu; of what comes, what was acknowledged before this process began
	replies    replies             // guarded by mu
	redelivery redelivery          // guarded by mu
	generation uint64              // guarded by mu; of the consumer
	created    time.Time           // guarded by mu; of the consumer
}

// arrival is a message with the number that Next gives for it.
type arrival struct {
	msg    *nats.Msg
	number uint64
}

// Consumer gives the consumer of an output, whose name is made of letters, digits,
// "-" and "_". An output that was never seen starts with the oldest event that is
// still held. In one process there is one consumer for an output and a stream.
func (q *Queue) Consumer(ctx context.Context, output string, s Stream) (*Consumer, error) {
	if output == "" || strings.ContainsAny(output, ".*> \t\r\n/\\") {
		return nil, fmt.Errorf("read for output %q: not a name", output)
	}
	ahead := pullEvents
	if q.cluster != nil {
		ahead = clusterPull
	}
	c := &Consumer{
		q: q, stream: s, name: output, log: q.log.With("output", output, "stream", string(s)),
		buffer: make(chan arrival, ahead), drained: make(chan struct{}, 1), held: map[uint64]delivery{},
	}
	var pull *puller
	err := q.waitFor(ctx, func(ctx context.Context) (err error) {
		pull, err = c.open(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s for output %s: %w", s, output, err)
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	c.running.Go(func() { c.fetch(life, pull) })
	c.running.Go(func() { c.heartbeats(life) })
	q.mu.Lock()
	defer q.mu.Unlock()
	q.consumers = append(q.consumers, c)
	return c, nil
}

// leaveConsumers ends all consumers.
func (q *Queue) leaveConsumers() {
	q.mu.Lock()
	all := q.consumers
	q.consumers = nil
	q.mu.Unlock()
	for _, c := range all {
		c.leave()
	}
}

// consumersOf gives the consumers of a stream that are open here.
func (q *Queue) consumersOf(s Stream) []*Consumer {
	q.mu.Lock()
	defer q.mu.Unlock()
	var of []*Consumer
	for _, c := range q.consumers {
		if c.stream == s {
			of = append(of, c)
		}
	}
	return of
}

func (c *Consumer) config() jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable:       c.name,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       c.q.ackWait(),
		MaxDeliver:    -1,
		MaxAckPending: maxAckPending,
	}
	if c.q.cluster != nil {
		cfg.InactiveThreshold = forgetAfter
	}
	return cfg
}

func (q *Queue) ackWait() time.Duration {
	if q.cluster == nil {
		return ownAckWait
	}
	return orDefault(q.cluster.ackWait, clusterAckWait)
}

func (c *Consumer) open(ctx context.Context) (*puller, error) {
	stream, err := c.q.js.Stream(ctx, string(c.stream))
	if err != nil {
		return nil, err
	}
	cfg := c.config()
	if c.q.cluster == nil {
		if cfg, err = c.begin(ctx, stream, cfg); err != nil {
			return nil, err
		}
	}
	consumer, err := c.create(ctx, stream, cfg)
	if err != nil {
		return nil, err
	}
	info, err := consumer.Info(ctx) // the answer before can be from when the server began
	if err != nil {
		return nil, err
	}
	c.renew(info)
	p, err := newPuller(c.q.conn, Stream(stream.CachedInfo().Config.Name), c.name)
	if err != nil {
		return nil, err
	}
	p.events, p.before, p.number = cap(c.buffer), c.wanted, info.Delivered.Consumer
	if c.q.cluster == nil {
		done, err := c.loadRecent(ctx, info.Created, stream.CachedInfo().State.LastSeq)
		if err == nil {
			c.mu.Lock()
			c.done = done
			c.mu.Unlock()
			err = c.redeliver(ctx, info)
		}
		if err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

// renew forgets what is held when the consumer is another now: its sequences may
// mean other events.
func (c *Consumer) renew(info *jetstream.ConsumerInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.replies.head == "" {
		c.replies.head = "$JS.ACK." + info.Stream + "." + c.name // the server may know it by a longer one
	}
	if info.Created.Equal(c.created) {
		return
	}
	if len(c.held) > 0 {
		c.log.Warn("the output's consumer was made anew, events can come again", "held", len(c.held))
	}
	if !c.created.IsZero() {
		c.generation++
	}
	c.created, c.held = info.Created, map[uint64]delivery{}
}
