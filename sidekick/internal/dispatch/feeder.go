package dispatch

import (
	"context"
	"log/slog"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

const (
	// A batch whose output names no limit of bytes must still fit into memory.
	maxBatchBytes = 4 << 20

	// So many events are looked at for one batch, so that the position moves on
	// while everything is filtered out.
	maxScan = 10_000

	// An output that takes batches but sets no delay gets what is there.
	minBatchDelay = 5 * time.Millisecond
)

// batch is what is delivered, retried and acknowledged as one.
type batch struct {
	events []schema.Event // those that passed the gate; may be none
	seqs   []uint64       // of all that were looked at
	bytes  int
}

// feeder makes the batches of one stream for one output, one ahead of the worker.
type feeder struct {
	target *Target
	reader Reader
	out    chan *batch
	log    *slog.Logger
	gate   *gate

	held *item // read, but too large for the batch that was being made
}

type item struct {
	event schema.Event
	size  int
	seq   uint64
}

func (f *feeder) run(ctx context.Context) {
	for {
		b, err := f.next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				f.log.Error("reading events ended", "error", err)
			}
			return
		}
		select {
		case f.out <- b:
		case <-ctx.Done():
			return
		}
	}
}

// next waits for an event and then for more until the batch is full or has waited
// for its delay.
func (f *feeder) next(ctx context.Context) (*batch, error) {
	limits := f.target.Limits
	maxEvents, maxBytes := max(limits.BatchEvents, 1), limits.BatchBytes
	if maxBytes <= 0 || maxBytes > maxBatchBytes {
		maxBytes = maxBatchBytes
	}
	b := &batch{}
	wait := ctx
	for scanned := 0; scanned < maxScan && len(b.events) < maxEvents && b.bytes < maxBytes; scanned++ {
		it, err := f.read(wait)
		if err != nil {
			if scanned > 0 && wait.Err() != nil && ctx.Err() == nil {
				return b, nil
			}
			return nil, err
		}
		switch {
		case !f.gate.passes(&it.event):
		case len(b.events) > 0 && b.bytes+it.size > maxBytes:
			f.held = it
			return b, nil
		default:
			b.events = append(b.events, it.event)
			b.bytes += it.size
		}
		b.seqs = append(b.seqs, it.seq)
		if scanned == 0 {
			var cancel context.CancelFunc
			wait, cancel = context.WithTimeout(ctx, max(limits.BatchDelay, minBatchDelay))
			defer cancel()
		}
	}
	return b, nil
}

func (f *feeder) read(ctx context.Context) (*item, error) {
	if it := f.held; it != nil {
		f.held = nil
		return it, nil
	}
	event, size, seq, err := f.reader.Next(ctx)
	if err != nil {
		return nil, err
	}
	return &item{event: event, size: size, seq: seq}, nil
}
