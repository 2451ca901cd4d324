package dispatch

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/sidearmor/sidearmor/outputs"
)

const (
	// A batch whose output names no limit of bytes must still fit into memory.
	maxBatchBytes = 4 << 20

	// So many events are looked at for one batch, so that the position moves on
	// while everything is filtered out.
	maxScan = 10_000

	// An output that takes batches but sets no delay gets what is there.
	minBatchDelay = 5 * time.Millisecond

	// digestPace is how many bytes a second are read to be digested, of each stream,
	// beyond the first digestBurst. The store keeps what was read as it came in
	// memory for ten seconds, but not what is read later.
	// All of a stream that holds no more than maxUnpaced may be there.
	maxUnpaced  = 32 << 20
	digestPace  = 4 << 20
	digestBurst = 1 << 20
)

// feeder makes the batches of one stream for one output, one ahead of the worker.
type feeder struct {
	limits outputs.Limits
	maxAge time.Duration
	reader Reader
	stop   context.Context // when it ends, an incomplete batch is complete
	out    chan *batch
	log    *slog.Logger
	gate   *gate
	pace   *rate.Limiter // of reading; nil for no limit

	held *item // read, but too large for the batch that was being made
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
		read, leaves := b.read, len(b.items) > 0 && b.items[0].Seq <= f.behind()
		select {
		case f.out <- b: // which is not ours any more
		case <-ctx.Done():
			return
		}
		if !leaves {
			f.rest(ctx, read)
		}
	}
}

// behind is the sequence up to which events have left the backlog.
func (f *feeder) behind() uint64 {
	if r, ok := f.reader.(Lagging); ok {
		upTo, _ := r.Behind()
		return upTo
	}
	return 0
}

// rest waits for as long as reading so many bytes should have taken, unless the
// sidekick stops.
func (f *feeder) rest(ctx context.Context, bytes int) {
	if f.pace == nil || f.stop.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.stop, cancel)()
	_ = f.pace.WaitN(ctx, min(bytes, digestBurst)) // fails when it is to end
}

// next waits for an event and then for more until the batch is full or has waited
// for its delay, which is over when the sidekick stops.
func (f *feeder) next(ctx context.Context) (*batch, error) {
	b := &batch{}
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	most, upTo := f.limits.BatchEvents, uint64(0)
	for scanned := 0; scanned < maxScan && len(b.items) < most && b.bytes < f.limits.BatchBytes; scanned++ {
		it, err := f.read(wait)
		if err != nil {
			if scanned > 0 && wait.Err() != nil && ctx.Err() == nil {
				return b, nil
			}
			return nil, err
		}
		if scanned == 0 {
			if upTo = f.behind(); it.Seq <= upTo {
				most = maxScan // they only have to leave
			}
		}
		b.read += it.Size
		switch {
		case it.Seq > upTo && most != f.limits.BatchEvents:
			f.held = it
			return b, nil
		case !f.gate.passes(&it.Event):
			b.skipped = append(b.skipped, it.Seq)
		case len(b.items) > 0 && b.bytes+it.Size > f.limits.BatchBytes:
			f.held = it
			return b, nil
		default:
			b.items = append(b.items, *it)
			b.bytes += it.Size
		}
		if scanned == 0 {
			end := context.AfterFunc(f.stop, func() { time.AfterFunc(minBatchDelay, cancel) })
			defer end()
			defer time.AfterFunc(f.limits.BatchDelay, cancel).Stop()
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
	return &item{Event: event, Size: size, Seq: seq, Expires: expiry(&event, time.Now(), f.maxAge)}, nil
}

// limits are those of a target's batches, all of them set. Events that are to be
// digested come in batches for the sake of speed alone.
func limits(t *Target) outputs.Limits {
	l := t.Limits
	if t.digests() {
		l.BatchEvents, l.BatchBytes, l.BatchDelay = 256, 256<<10, 0
	}
	l.BatchEvents = max(l.BatchEvents, 1)
	if l.BatchBytes <= 0 || l.BatchBytes > maxBatchBytes {
		l.BatchBytes = maxBatchBytes
	}
	l.BatchDelay = max(l.BatchDelay, minBatchDelay)
	return l
}
