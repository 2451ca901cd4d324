package grpcapi

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/protobuf/proto"
)

// What one feed holds for watchers that have yet to take it. The largest body that
// is posted has 10,000 events, which a watcher that keeps up must not miss.
const (
	maxHeld      = 10_000
	maxHeldBytes = 8 << 20 // encoded; as Go values two to three times that
)

// feed is a stream of messages that any number of watchers read, each from where
// it joined. They share what it holds: a slow watcher costs no more than the
// bounds, however many there are. Whoever falls behind them misses the oldest.
type feed[M proto.Message] struct {
	mu       sync.Mutex
	held     []held[M] // oldest first
	first    uint64    // number of held[0]
	bytes    int
	watchers map[*watcher]struct{}
	ended    bool
	more     chan struct{} // closed when there is more, or the end; nil while nobody waits
}

type held[M proto.Message] struct {
	message M
	bytes   int
}

// watcher is how far one of them has read.
type watcher struct {
	next   uint64 // number of the message that it gets next
	missed int
}

func (f *feed[M]) join() *watcher {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &watcher{next: f.end()}
	if f.watchers == nil {
		f.watchers = map[*watcher]struct{}{}
	}
	f.watchers[w] = struct{}{}
	return w
}

func (f *feed[M]) leave(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers, w)
	f.release()
}

// end is the number of the message that comes next.
func (f *feed[M]) end() uint64 { return f.first + uint64(len(f.held)) }

// watched says whether somebody reads.
func (f *feed[M]) watched() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watchers) > 0 && !f.ended
}

// add never waits. It gives the number of messages that watchers miss for it.
func (f *feed[M]) add(m M) (missed int) {
	size := proto.Size(m)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.watchers) == 0 || f.ended {
		return 0
	}
	f.held = append(f.held, held[M]{m, size})
	f.bytes += size
	for len(f.held) > maxHeld || f.bytes > maxHeldBytes && len(f.held) > 1 {
		f.drop(1)
		for w := range f.watchers {
			if w.next < f.first {
				w.next = f.first
				w.missed++
				missed++
			}
		}
	}
	f.wake()
	return missed
}

// wake must be called with mu held.
func (f *feed[M]) wake() {
	if f.more != nil {
		close(f.more)
		f.more = nil
	}
}

// drop forgets the n oldest.
func (f *feed[M]) drop(n int) {
	for _, h := range f.held[:n] {
		f.bytes -= h.bytes
	}
	clear(f.held[:n])
	f.held = f.held[n:]
	f.first += uint64(n)
}

// release forgets what all watchers have read.
func (f *feed[M]) release() {
	oldest := f.end()
	for w := range f.watchers {
		oldest = min(oldest, w.next)
	}
	f.drop(int(oldest - f.first))
	if len(f.held) == 0 {
		f.held = nil // and not an array that was large once
	}
}

// take gives the next message, waiting for it. After the end it gives what is
// left, and then io.EOF.
func (f *feed[M]) take(ctx context.Context, w *watcher) (M, error) {
	for {
		m, more, err := f.poll(w)
		if !errors.Is(err, errNone) {
			return m, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return m, ctx.Err()
		}
	}
}

var errNone = errors.New("nothing yet")

// poll gives the next message, or what to wait for.
func (f *feed[M]) poll(w *watcher) (m M, more <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case w.next < f.end():
		m = f.held[w.next-f.first].message
		w.next++
		if w.next == f.first+1 {
			f.release()
		}
		return m, nil, nil
	case f.ended:
		return m, nil, io.EOF
	case f.more == nil:
		f.more = make(chan struct{})
	}
	return m, f.more, errNone
}

// finish ends the feed: nothing is added any more.
func (f *feed[M]) finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.wake()
}
