package queue

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// trimInterval is how often Run frees space and looks at the disk, and trimSoon
	// how often at a stream that is not nearly empty.
	trimInterval = time.Second
	trimSoon     = 50 * time.Millisecond

	// fillRate is how many bytes a second may come.
	fillRate = 100 << 20
)

// Run frees the space of what every output has, until ctx ends.
//
// Delivered events stay for two minutes, because the server recognises a repeated
// event across a restart only while it holds the first; but never more of them
// than fill a quarter of the stream, and none while the disk gets short. With no
// outputs at all the newest events stay and fill up to that quarter, for an output
// that is configured later.
func (q *Queue) Run(ctx context.Context) {
	trimmers := []*trimmer{{q: q, stream: Alerts}, {q: q, stream: Logs}}
	w := letterWatch{q: q}
	if err := q.removeEarlier(ctx); err != nil {
		q.log.Warn("what an earlier version stored is still there", "error", err)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var cared time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-timer.C:
			if q.cluster == nil {
				q.checkDisk()
			}
			if q.cluster == nil && now.Sub(cared) >= trimInterval {
				cared = now
				q.revive()
				w.look(ctx, now)
			}
			for _, t := range trimmers {
				if err := t.trim(ctx, now); err != nil && ctx.Err() == nil {
					q.log.Warn("freeing space of the queue failed", "stream", string(t.stream), "error", err)
				}
			}
			timer.Reset(q.trimAgain(trimmers))
		}
	}
}

// trimAgain is when to look next: before a stream can have filled up, but often only
// where one may.
func (q *Queue) trimAgain(trimmers []*trimmer) time.Duration {
	if q.cluster != nil { // every member looks
		if slices.ContainsFunc(trimmers, func(t *trimmer) bool { return t.fill > lagFrom/2 }) {
			return trimInterval
		}
		return groupTrimInterval
	}
	wait := trimInterval
	for _, t := range trimmers {
		fills := time.Duration(q.limits[t.stream] * int64(time.Second) / fillRate)
		if t.fill > 1 {
			fills = trimSoon
		}
		wait = min(wait, max(fills/4, trimSoon))
	}
	return wait
}

// revive starts the store again after it shut itself down over a failed write.
func (q *Queue) revive() {
	if q.srv.JetStreamEnabled() || q.diskLow.Load() {
		return
	}
	q.log.Warn("store had shut itself down, starting it again")
	if err := q.srv.EnableJetStream(storeConfig(q.storeDir(), q.sync)); err != nil {
		q.log.Error("starting the store again failed", "error", err)
	}
}

// trimmer frees the space of one stream.
type trimmer struct {
	q      *Queue
	stream Stream
	marks  []mark // oldest first, no older than the duplicate window and one more
	fill   int64  // eighths of the limit
	told   time.Time
}

// mark says that every message up to seq was there at a time, by the clock that
// does not jump.
type mark struct {
	at  time.Time
	seq uint64
}

func (t *trimmer) trim(ctx context.Context, now time.Time) error {
	stream, err := t.q.js.Stream(ctx, string(t.stream))
	if err != nil {
		return err
	}
	state := stream.CachedInfo().State
	t.fill = int64(state.Bytes) * 8 / max(t.q.limits[t.stream], 1)
	all, err := outputs(ctx, stream)
	if err != nil {
		return err
	}
	if t.q.cluster == nil {
		t.q.lost[t.stream].look(state, t.q.log.With("stream", string(t.stream)))
	}
	t.relieve(state, all, now)
	if state.Msgs == 0 {
		return nil
	}
	delivered := deliveredTo(all)
	var upTo uint64
	if delivered != math.MaxUint64 {
		upTo = min(delivered, t.windowEnd(now, state.LastSeq))
	}
	upTo = max(upTo, min(delivered, excess(state, t.q.limits[t.stream]/4)))
	if upTo < state.FirstSeq {
		return nil
	}
	return purge(ctx, stream, upTo)
}

// purge removes all messages up to a sequence.
func purge(ctx context.Context, stream jetstream.Stream, upTo uint64) error {
	return stream.Purge(ctx, jetstream.WithPurgeSequence(upTo+1))
}

// windowEnd gives the last sequence that has left the duplicate window.
func (t *trimmer) windowEnd(now time.Time, last uint64) uint64 {
	t.marks = append(t.marks, mark{at: now, seq: last})
	var seq uint64
	for len(t.marks) > 0 && now.Sub(t.marks[0].at) > duplicateWindow {
		seq = t.marks[0].seq
		t.marks = t.marks[1:]
	}
	return seq
}

// excess gives the last sequence to drop so that about limit bytes are left,
// taking all messages for equally large; the next pass corrects it.
func excess(state jetstream.StreamState, limit int64) uint64 {
	if state.Bytes <= uint64(limit) {
		return 0
	}
	drop := float64(state.Bytes-uint64(limit)) / float64(state.Bytes)
	return state.FirstSeq + uint64(drop*float64(state.LastSeq-state.FirstSeq))
}
