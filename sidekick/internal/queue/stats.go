package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// statsTimeout bounds a look into the store for a probe or a scrape.
const statsTimeout = 2 * time.Second

// Degraded is why logs are refused while alerts are still taken.
type Degraded struct{ reason string }

func (e *Degraded) Error() string { return e.reason }

// Degraded says that the queue still does what matters most.
func (e *Degraded) Degraded() bool { return true }

// Ready says why events cannot be stored right now; nil when they can. Where that
// concerns logs alone, the reason is a *Degraded.
func (q *Queue) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	if q.cluster != nil && !q.conn.IsConnected() {
		return fmt.Errorf("queue: %w", errNoConnection)
	}
	var errs []error
	if q.diskLow.Load() {
		errs = append(errs, errors.New("queue: the disk is nearly full"))
	}
	for _, s := range []Stream{Alerts, Logs} {
		stream, err := q.js.Stream(ctx, string(s))
		if err != nil {
			errs = append(errs, fmt.Errorf("queue: stream %s: %w", s, err))
			continue
		}
		// Below the largest message the next one may already be refused.
		if int64(stream.CachedInfo().State.Bytes)+MaxMessageBytes > q.limits[s] {
			errs = append(errs, full(s))
		}
	}
	return errors.Join(errs...)
}

func full(s Stream) error {
	reason := fmt.Sprintf("queue: stream %s is full", s)
	if s == Logs {
		return &Degraded{reason: reason}
	}
	return errors.New(reason)
}

// Collector gives the queue's metrics, read from the store at each scrape.
func (q *Queue) Collector() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sidearmor_queue_"+name, help, labels, nil)
	}
	return &collector{
		q:           q,
		messages:    desc("events", "Events held, delivered ones of the history included.", "stream"),
		bytes:       desc("bytes", "Bytes held.", "stream"),
		limit:       desc("limit_bytes", "Bytes that may be held.", "stream"),
		refused:     desc("refused_events_total", "Events that were not taken because the stream or the disk was full.", "stream"),
		pending:     desc("pending_events", "Events that an output has yet to acknowledge.", "stream", "destination"),
		undecodable: desc("undecodable_events_total", "Stored events that could not be decoded and are dead letters.", "stream", "destination"),
		oldest:      desc("oldest_seconds", "Age of the oldest event that an output has yet to acknowledge, 0 for none.", "stream", "destination"),
		gaps:        desc("lost_events_total", "Events that the store held and could not read any more.", "stream"),
		aside:       desc("set_aside_total", "Stores, and positions of outputs, that did not open and were set aside."),
		available:   desc("available", "1 while the store, or the cluster, answers; else what depends on it is not shown."),
		held:        prometheus.NewDesc("sidearmor_dead_letters_held", "Dead letters that can be looked at and replayed.", nil, nil),
		lost:        prometheus.NewDesc("sidearmor_dead_letters_lost_total", "Dead letters that gave way to newer ones.", nil, nil),
	}
}

type collector struct {
	q                                                *Queue
	messages, bytes, limit, pending, refused, oldest *prometheus.Desc
	held, lost, undecodable, available, gaps, aside  *prometheus.Desc
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.messages, c.bytes, c.limit, c.pending, c.refused, c.oldest, c.held, c.lost, c.undecodable, c.available, c.gaps, c.aside} {
		ch <- d
	}
}

// Collect gives what is known: while the store does not answer, that is less, and
// the page is there all the same.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), statsTimeout)
	defer cancel()
	counter := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for s, n := range map[Stream]int64{Alerts: c.q.refusedAlerts.Load(), Logs: c.q.refusedLogs.Load()} {
		counter(c.refused, n, string(s))
		for _, consumer := range c.q.consumersOf(s) {
			counter(c.undecodable, consumer.undecodable.Load(), string(s), consumer.name)
		}
		counter(c.gaps, c.q.lost[s].count(), string(s))
	}
	counter(c.aside, c.q.aside.Load())
	available := 1.0
	for _, name := range []string{string(Alerts), string(Logs), deadLetters} {
		if !c.collectStream(ctx, ch, name) {
			available = 0
			break // the others would be waited for in vain
		}
	}
	ch <- prometheus.MustNewConstMetric(c.available, prometheus.GaugeValue, available)
}

// collectStream gives what the store says of a stream, and whether it answers.
func (c *collector) collectStream(ctx context.Context, ch chan<- prometheus.Metric, name string) bool {
	if !c.q.conn.IsConnected() {
		return false // it would only time out
	}
	stream, err := c.q.js.Stream(ctx, name)
	if err != nil {
		c.q.log.Debug("stream cannot be looked at for metrics", "stream", name, "error", err)
		return false
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	info := stream.CachedInfo()
	gauge(c.messages, float64(info.State.Msgs), name)
	gauge(c.bytes, float64(info.State.Bytes), name)
	gauge(c.limit, float64(info.Config.MaxBytes), name)
	if name != deadLetters {
		c.collectOutputs(ctx, ch, Stream(name), stream)
		return true
	}
	gauge(c.held, float64(info.State.Msgs))
	if c.q.cluster == nil {
		ch <- prometheus.MustNewConstMetric(c.lost, prometheus.CounterValue, float64(c.q.letters.lost(info.State)))
	}
	return true
}

// collectOutputs gives what there is of each output that reads a stream.
func (c *collector) collectOutputs(ctx context.Context, ch chan<- prometheus.Metric, s Stream, stream jetstream.Stream) {
	all, err := outputs(ctx, stream)
	if err != nil {
		c.q.log.Debug("outputs cannot be looked at for metrics", "stream", string(s), "error", err)
		return // a cluster is choosing a leader
	}
	for _, consumer := range c.q.consumersOf(s) {
		p, known := all[consumer.name]
		if !known {
			continue
		}
		ch <- prometheus.MustNewConstMetric(c.pending, prometheus.GaugeValue, float64(p.pending), string(s), consumer.name)
		age, err := c.q.oldest(ctx, ageKey{consumer.name, s}, stream, p, time.Now())
		if err != nil {
			c.q.log.Debug("oldest event cannot be looked at for metrics", "stream", string(s), "output", consumer.name, "error", err)
			return
		}
		ch <- prometheus.MustNewConstMetric(c.oldest, prometheus.GaugeValue, age.Seconds(), string(s), consumer.name)
	}
}

// ages remembers when the oldest event was stored that an output has yet to
// acknowledge. An output that stands still costs a scrape nothing.
type ages struct {
	mu    sync.Mutex
	known map[ageKey]stored // guarded by mu
}

type ageKey struct {
	output string
	stream Stream
}

type stored struct {
	seq uint64
	at  time.Time
}

// oldest is the age of the oldest event that an output has yet to acknowledge, 0
// if there is none.
func (q *Queue) oldest(ctx context.Context, key ageKey, stream jetstream.Stream, p progress, now time.Time) (time.Duration, error) {
	if p.pending == 0 {
		return 0, nil
	}
	seq := max(p.floor+1, stream.CachedInfo().State.FirstSeq)
	a := &q.ages
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known[key].seq != seq {
		msg, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(q.stored(key.stream.subject())))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return 0, nil // delivered and freed since
		}
		if err != nil {
			return 0, err
		}
		if a.known == nil {
			a.known = map[ageKey]stored{}
		}
		a.known[key] = stored{seq: seq, at: msg.Time}
	}
	return max(0, now.Sub(a.known[key].at)), nil
}
