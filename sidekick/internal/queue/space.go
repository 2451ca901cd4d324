package queue

import (
	"context"
	"math"
	"sync"
	"time"

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
	if free < scarceDisk && q.makeRoom(tight, Alerts, Logs) && tight {
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

// makeRoom removes the events of these streams that every output has, and says
// whether there were any. It is urgent where events would be refused without.
func (q *Queue) makeRoom(urgent bool, streams ...Stream) bool {
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
	if upTo < state.FirstSeq {
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
