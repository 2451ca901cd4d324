package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// begin says where an output's consumer in a store of our own begins. A new one begins
// with the oldest event that some other output did not have at the start, and so without
// the history; the first of all with the oldest that is held. One that is further than
// its stream, because a crash of the machine cost the end of it, is made anew.
func (c *Consumer) begin(ctx context.Context, stream jetstream.Stream, cfg jetstream.ConsumerConfig) (jetstream.ConsumerConfig, error) {
	from := func(seq uint64) jetstream.ConsumerConfig {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, seq
		return cfg
	}
	consumer, err := stream.Consumer(ctx, c.name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		if floor := c.q.floors[c.stream]; floor < math.MaxUint64 {
			return from(floor + 1), nil
		}
		return cfg, nil
	}
	if err != nil {
		return cfg, err
	}
	info, last := consumer.CachedInfo(), stream.CachedInfo().State.LastSeq
	if info.Delivered.Stream > last {
		start := min(info.AckFloor.Stream, last) + 1
		c.log.Warn("the end of the queue was lost, the output goes on from there", "first", start)
		return from(start), stream.DeleteConsumer(ctx, c.name)
	}
	if start := info.Config.OptStartSeq; start > 0 {
		return from(start), nil // the server does not take another
	}
	return cfg, nil
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
	cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverAllPolicy, 0
	return stream.CreateOrUpdateConsumer(ctx, cfg)
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
	if len(outputNames) == 0 && len(all) > 0 {
		// An output that is configured later is to get what none had, and not the history.
		if err := purge(ctx, stream, deliveredTo(all)); err != nil {
			return fmt.Errorf("forget outputs of %s: %w", s, err)
		}
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
