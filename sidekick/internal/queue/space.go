package queue

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"
)

const (
	// lowDisk is the free space below which nothing more is taken: the store shuts
	// itself down when a write fails, so it must never come to that.
	lowDisk = 32 << 20

	// tightDisk is the free space below which logs are refused.
	tightDisk = lowDisk + lowDisk/2

	// scarceDisk is the free space below which delivered events no longer wait for
	// their two minutes.
	scarceDisk = 2 * lowDisk

	diskInterval  = 10 * time.Millisecond  // at most so often who stores looks at the disk
	spaceInterval = 100 * time.Millisecond // at most so often delivered events are looked for while there is room
	purgeWait     = 100 * time.Millisecond // how long files of removed events may stay; the server removes them in the background
)

// space makes room for new events out of delivered ones. They are kept to recognise
// what comes again, which counts less than what is new.
type space struct {
	mu     sync.Mutex
	looked time.Time // at the disk
	tried  time.Time // to remove something
	vain   time.Time // tried because it was urgent, and there was nothing

	reclaimed atomic.Uint64 // how often something was removed
}

// freeOn gives the bytes of the file system of dir that are free.
func freeOn(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// checkDisk looks whether events can be taken, and makes room where it gets scarce.
func (q *Queue) checkDisk() {
	free, err := q.free(q.dir)
	if err != nil {
		return // the next write tells
	}
	tight := free < tightDisk
	if free < scarceDisk && q.reclaim(tight, Alerts, Logs) && tight {
		free = q.freed()
	}
	q.diskTight.Store(free < tightDisk)
	low := free < lowDisk
	if low != q.diskLow.Swap(low) {
		if low {
			q.log.Error("disk is nearly full, events are refused", "dir", q.dir, "least_free_bytes", lowDisk)
		} else {
			q.log.Info("disk has room again", "dir", q.dir)
		}
	}
}

// freed waits for the files of what was removed to go, and gives what is free.
func (q *Queue) freed() uint64 {
	for end := time.Now().Add(purgeWait); ; time.Sleep(5 * time.Millisecond) {
		free, err := q.free(q.dir)
		if err != nil || free >= tightDisk || time.Now().After(end) {
			return free
		}
	}
}

// watchDisk is checkDisk for those who store: a flood can fill a small volume
// within the second that Run waits.
func (q *Queue) watchDisk() {
	if q.cluster != nil {
		return
	}
	q.space.mu.Lock()
	now := time.Now()
	due := now.Sub(q.space.looked) >= diskInterval
	if due {
		q.space.looked = now
	}
	q.space.mu.Unlock()
	if due {
		q.checkDisk()
	}
}

// reclaim removes the events of these streams that every output has, and says
// whether there were any. It is urgent where events would be refused without.
func (q *Queue) reclaim(urgent bool, streams ...Stream) bool {
	q.space.mu.Lock()
	defer q.space.mu.Unlock()
	if urgent && time.Since(q.space.vain) < diskInterval || !urgent && time.Since(q.space.tried) < spaceInterval {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), ackTimeout) // as for storing: whoever posted may be gone
	defer cancel()
	some := false
	for _, s := range streams {
		t := &trimmer{q: q, stream: s}
		removed, err := t.removeDelivered(ctx)
		if err != nil {
			q.log.Warn("freeing space of the queue failed", "stream", string(s), "error", err)
		}
		some = some || removed
	}
	q.space.tried = time.Now()
	if some {
		q.space.reclaimed.Add(1)
	}
	if urgent && !some {
		q.space.vain = q.space.tried
	}
	return some
}

// removeDelivered removes all that every output has. Without outputs the newest stay
// for one that is configured later, as with trim, but no more than half of all.
func (t *trimmer) removeDelivered(ctx context.Context) (some bool, err error) {
	stream, err := t.q.js.Stream(ctx, string(t.stream))
	if err != nil {
		return false, err
	}
	state := stream.CachedInfo().State
	all, err := outputs(ctx, stream)
	if err != nil || state.Msgs == 0 {
		return false, err
	}
	upTo := deliveredTo(all)
	if upTo == math.MaxUint64 {
		upTo = excess(state, min(t.q.limits[t.stream]/4, int64(state.Bytes/2)))
	}
	if upTo < state.FirstSeq || t.q.redelivering(t.stream) {
		return false, nil
	}
	return true, purge(ctx, stream, upTo)
}

// warnOfVolume says at the start when the volume is smaller than what the queue may
// become: then it is full before its limits are reached.
func (q *Queue) warnOfVolume(ctx context.Context) {
	free, err := q.free(q.dir)
	if err != nil {
		return
	}
	needs := uint64(q.limits[Alerts] + q.limits[Logs] + deadLetterBytes + lowDisk)
	has := free
	for _, name := range []string{string(Alerts), string(Logs), deadLetters} {
		if stream, err := q.js.Stream(ctx, name); err == nil {
			has += stream.CachedInfo().State.Bytes
		}
	}
	if has < needs {
		q.log.Warn("the volume of the queue is smaller than what the queue may become: when it is full, events are refused; give it more room, or set QUEUE_MAX_BYTES to less",
			"dir", q.dir, "volume_bytes", has, "needs_bytes", needs)
	}
}

const (
	// trimInterval is how often Run frees space and looks at the disk, and trimSoon
	// how often at a stream that is not nearly empty.
	trimInterval = time.Second
	trimSoon     = 50 * time.Millisecond

	// fillRate is how many bytes a second may come.
	fillRate = 100 << 20

	// historyInterval is how often old history goes: to remove the oldest events costs a
	// look through the file that they are in.
	historyInterval = 10 * time.Second
	marksKept       = 1000
)

// Run frees the space of what every output has, until ctx ends.
//
// Delivered events stay for as long as the history goes back, and at least for two
// minutes, in which a repeated event is recognised across a restart. They are never
// more than fill a quarter of the stream, and none while the disk gets short. With no
// outputs at all the newest events stay and fill up to that quarter, for an output
// that is configured later.
func (q *Queue) Run(ctx context.Context) {
	trimmers := []*trimmer{{q: q, stream: Alerts}, {q: q, stream: Logs}}
	w := letterWatch{q: q}
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
			timer.Reset(q.nextTrim(trimmers))
		}
	}
}

// nextTrim is when to look next: before a stream can have filled up, but often only
// where one may.
func (q *Queue) nextTrim(trimmers []*trimmer) time.Duration {
	if q.cluster != nil { // every member looks
		if slices.ContainsFunc(trimmers, func(t *trimmer) bool { return t.fill > lagFrom/2 }) {
			return trimInterval
		}
		return clusterTrimInterval
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
	marks  []mark // oldest first
	fill   int64  // eighths of the limit
	told   time.Time
	purged time.Time
}

// mark says that every output had everything up to seq at a time, by the clock that
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
	upTo := t.expendable(state, deliveredTo(all), now)
	if upTo < state.FirstSeq || t.q.redelivering(t.stream) {
		return nil
	}
	t.purged = now
	defer t.q.space.reclaimed.Add(1)
	return purge(ctx, stream, upTo)
}

// expendable gives the last sequence of the events that need not stay.
func (t *trimmer) expendable(state jetstream.StreamState, delivered uint64, now time.Time) uint64 {
	urgent := min(delivered, excess(state, t.q.limits[t.stream]/4))
	if delivered == math.MaxUint64 {
		return urgent
	}
	t.mark(now, delivered)
	known := t.deliveredBefore(now.Add(-duplicateWindow))
	share := t.q.history.share(t.stream, int64(state.Bytes))
	urgent = max(urgent, min(known, excess(state, share+share/8)))
	if urgent < state.FirstSeq && now.Sub(t.purged) < historyInterval {
		return 0
	}
	old := t.deliveredBefore(now.Add(-max(t.q.history.age, duplicateWindow)))
	return max(urgent, old, min(known, excess(state, share)))
}

// purge removes all messages up to a sequence.
func purge(ctx context.Context, stream jetstream.Stream, upTo uint64) error {
	return stream.Purge(ctx, jetstream.WithPurgeSequence(upTo+1))
}

// mark notes up to where all is delivered.
func (t *trimmer) mark(now time.Time, delivered uint64) {
	age := max(t.q.history.age, duplicateWindow)
	if n := len(t.marks); n == 0 || now.Sub(t.marks[n-1].at) >= max(time.Second, age/marksKept) {
		t.marks = append(t.marks, mark{at: now, seq: delivered})
	}
	for len(t.marks) > 1 && now.Sub(t.marks[1].at) > age {
		t.marks = t.marks[1:]
	}
}

// deliveredBefore gives the last sequence that every output had at a time.
func (t *trimmer) deliveredBefore(at time.Time) (seq uint64) {
	for _, m := range t.marks {
		if !m.at.Before(at) {
			break
		}
		seq = m.seq
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
