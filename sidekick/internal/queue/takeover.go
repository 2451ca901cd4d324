package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// positions was a stream in which earlier versions kept how far each output was. Its
// messages are "created last from-to from-to …": when the events' stream was made, up
// to where all was delivered, and the sequences before that were not.
const positions = "POSITIONS"

// takeOver gives the configuration of an output's consumer in a store of our own. One
// that cannot be used as it is is removed: that of an earlier version, or one that is
// further than its stream after a crash of the machine cost the end of it.
func (c *Consumer) takeOver(ctx context.Context, stream jetstream.Stream, cfg jetstream.ConsumerConfig) (jetstream.ConsumerConfig, error) {
	old, found, err := c.q.oldPosition(ctx, c.stream, c.name, stream.CachedInfo())
	if err != nil {
		return cfg, err
	}
	var start uint64
	consumer, err := stream.Consumer(ctx, c.name)
	switch {
	case found:
		start = old.floor() + 1
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return cfg, nil
	case err != nil:
		return cfg, err
	default:
		info, state := consumer.CachedInfo(), stream.CachedInfo().State
		if start = info.Config.OptStartSeq; start > 0 {
			cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, start
		}
		if info.Config.AckPolicy == cfg.AckPolicy && info.Delivered.Stream <= state.LastSeq {
			return cfg, nil
		}
		start = min(info.AckFloor.Stream, state.LastSeq) + 1
		if info.Config.AckPolicy == cfg.AckPolicy {
			c.log.Warn("the end of the queue was lost, the output goes on from there", "first", start)
		}
	}
	if err := stream.DeleteConsumer(ctx, c.name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return cfg, err
	}
	cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, start
	if !found {
		return cfg, nil
	}
	created, err := stream.CreateConsumer(ctx, cfg)
	if err != nil {
		return cfg, err
	}
	if err := c.settle(ctx, created, old); err != nil {
		return cfg, err
	}
	return cfg, c.q.forgetPosition(ctx, c.stream, c.name)
}

// create makes the output's consumer, or finds it. One whose state is damaged the
// server neither opens nor replaces: its files are set aside.
func (c *Consumer) create(ctx context.Context, stream jetstream.Stream, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	consumer, err := stream.CreateOrUpdateConsumer(ctx, cfg)
	if api, ok := errors.AsType[*jetstream.APIError](err); !ok || api.ErrorCode != errCodeConsumerStore || c.q.cluster != nil {
		return consumer, err
	}
	from := filepath.Join(c.q.storeDir(), "jetstream", "$G", "streams", string(c.stream), "obs", c.name)
	to := damagedDir(c.q.dir)
	if err := errors.Join(os.MkdirAll(to, 0o700), os.Rename(from, filepath.Join(to, string(c.stream)+"-"+c.name))); err != nil {
		return nil, fmt.Errorf("set the output's position aside: %w", err)
	}
	c.log.Error("position of the output is damaged and set aside, everything that is held comes again", "to", to, "error", err)
	c.q.aside.Add(1)
	return stream.CreateOrUpdateConsumer(ctx, cfg)
}

// settle acknowledges what an output of an earlier version has of the events after the
// first that it does not have.
func (c *Consumer) settle(ctx context.Context, consumer jetstream.Consumer, old position) error {
	for at := old.floor(); at < old.last; {
		batch, err := consumer.Fetch(pullEvents, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return err
		}
		some := false
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return err
			}
			some, at = true, max(at, meta.Sequence.Stream)
			if meta.Sequence.Stream <= old.last && !old.open[meta.Sequence.Stream] {
				if err := msg.DoubleAck(ctx); err != nil {
					return err
				}
			}
		}
		if err := batch.Error(); err != nil {
			return err
		}
		if !some {
			return nil // the rest of them is not held any more
		}
	}
	return nil
}

// position is how far an output was in a stream: everything up to last was delivered,
// but for what is open.
type position struct {
	last uint64
	open map[uint64]bool
}

// floor is the last sequence up to which nothing is open.
func (p *position) floor() uint64 {
	floor := p.last
	for seq := range p.open {
		floor = min(floor, seq-1)
	}
	return floor
}

// oldPosition gives what an earlier version recorded for an output of this stream.
func (q *Queue) oldPosition(ctx context.Context, s Stream, output string, info *jetstream.StreamInfo) (position, bool, error) {
	if !q.earlier {
		return position{}, false, nil
	}
	stream, err := q.js.Stream(ctx, positions)
	if err != nil {
		return position{}, false, fmt.Errorf("read the position of an earlier version: %w", err)
	}
	msg, err := stream.GetLastMsgForSubject(ctx, oldSubject(s, output))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return position{}, false, nil
	}
	if err != nil {
		return position{}, false, fmt.Errorf("read the position of an earlier version: %w", err)
	}
	p, created, err := parsePosition(string(msg.Data))
	if err == nil && created != info.Created.UnixNano() {
		err = errors.New("it is of another stream")
	}
	if err != nil {
		q.log.Error("position of an earlier version cannot be used, everything that is held comes again", "output", output, "stream", string(s), "error", err)
		return position{}, false, nil
	}
	if back := info.State.LastSeq; p.last > back {
		p.last = back
	}
	return p, true, nil
}

func parsePosition(text string) (p position, created int64, err error) {
	words := strings.Split(text, " ")
	if len(words) < 2 {
		return position{}, 0, fmt.Errorf("position %.100q is not one", text)
	}
	p.open = map[uint64]bool{}
	created, err1 := strconv.ParseInt(words[0], 10, 64)
	p.last, err = strconv.ParseUint(words[1], 10, 64)
	if err = errors.Join(err1, err); err != nil {
		return position{}, 0, fmt.Errorf("position %.100q: %w", text, err)
	}
	for _, word := range words[2:] {
		first, last, _ := strings.Cut(word, "-")
		from, err1 := strconv.ParseUint(first, 10, 64)
		to, err2 := strconv.ParseUint(last, 10, 64)
		if err := errors.Join(err1, err2); err != nil || from == 0 || to < from || to > p.last || to-from > 10*maxAckPending {
			return position{}, 0, fmt.Errorf("position %.100q: %s is out of place: %w", text, word, err)
		}
		for seq := from; seq <= to; seq++ {
			p.open[seq] = true
		}
	}
	return p, created, nil
}

func oldSubject(s Stream, output string) string { return "positions." + string(s) + "." + output }

func (q *Queue) forgetPosition(ctx context.Context, s Stream, output string) error {
	stream, err := q.js.Stream(ctx, positions)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(oldSubject(s, output)))
	}
	if err != nil {
		return fmt.Errorf("remove the position of an earlier version: %w", err)
	}
	q.log.Info("position of an earlier version is taken over", "output", output, "stream", string(s))
	return nil
}

// Keep forgets the positions of all outputs of a stream but the named ones, so that
// an output which is no longer configured does not hold its events for ever. A
// cluster does that by itself after seven days: others may have that output.
func (q *Queue) Keep(ctx context.Context, s Stream, outputNames []string) error {
	if q.cluster != nil {
		return nil
	}
	stream, err := q.js.Stream(ctx, string(s))
	if err != nil {
		return fmt.Errorf("forget outputs of %s: %w", s, err)
	}
	all, err := outputs(ctx, stream)
	if err != nil {
		return fmt.Errorf("forget outputs of %s: %w", s, err)
	}
	for name := range all {
		if slices.Contains(outputNames, name) {
			continue
		}
		if err := stream.DeleteConsumer(ctx, name); err != nil {
			return fmt.Errorf("forget output %s of %s: %w", name, s, err)
		}
		q.log.Info("output is no longer configured, its position is forgotten", "output", name, "stream", string(s))
	}
	return nil
}

// removeEarlier removes what an earlier version kept beside the events, when the
// outputs have taken it over.
func (q *Queue) removeEarlier(ctx context.Context) error {
	if !q.earlier {
		return nil
	}
	if err := q.js.DeleteStream(ctx, positions); err != nil {
		return fmt.Errorf("remove the positions of an earlier version: %w", err)
	}
	q.earlier = false
	return os.RemoveAll(filepath.Join(q.dir, "spare"))
}
