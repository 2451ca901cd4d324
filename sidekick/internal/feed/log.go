package feed

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// What one Log holds for listeners that have yet to take it. The largest body that
// is posted has 10,000 events, which a listener that keeps up must not miss.
const (
	maxHeld      = 10_000
	maxHeldBytes = 8 << 20 // as size has them
)

// Log is a sequence of items that any number of listeners read, each from where it
// joined. They share what it holds: a slow listener costs no more than the bounds,
// however many there are. Whoever falls behind them misses the oldest, and is told
// how many.
type Log[T any] struct {
	size      func(T) int
	listening atomic.Bool // whether Add has something to do

	mu        sync.Mutex
	held      []held[T] // oldest first
	first     uint64    // number of held[0]
	bytes     int
	listeners map[*Listener[T]]struct{}
	ended     bool
	more      chan struct{} // closed when there is more, or the end; nil while nobody waits
}

type held[T any] struct {
	item  T
	bytes int
}

func newLog[T any](size func(T) int) *Log[T] {
	return &Log[T]{size: size, listeners: map[*Listener[T]]struct{}{}}
}

// Listening says whether somebody listens. Where nobody does, there is no need to
// make what would be added.
func (l *Log[T]) Listening() bool { return l.listening.Load() }

// Add never waits for those who listen. After End it does nothing.
func (l *Log[T]) Add(items ...T) {
	if !l.Listening() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.listeners) == 0 || l.ended {
		return
	}
	for _, item := range items {
		size := l.size(item)
		l.held = append(l.held, held[T]{item, size})
		l.bytes += size
		for len(l.held) > maxHeld || l.bytes > maxHeldBytes && len(l.held) > 1 {
			l.drop(1)
		}
	}
	l.wake()
}

// wake must be called with mu held.
func (l *Log[T]) wake() {
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
}

// drop forgets the n oldest.
func (l *Log[T]) drop(n int) {
	for _, h := range l.held[:n] {
		l.bytes -= h.bytes
	}
	clear(l.held[:n])
	l.held = l.held[n:]
	l.first += uint64(n)
}

// end is the number of the item that comes next.
func (l *Log[T]) end() uint64 { return l.first + uint64(len(l.held)) }

// release forgets what all listeners have read.
func (l *Log[T]) release() {
	oldest := l.end()
	for r := range l.listeners {
		oldest = min(oldest, max(r.next, l.first))
	}
	l.drop(int(oldest - l.first))
	if len(l.held) == 0 {
		l.held = nil // and not an array that was large once
	}
}

// End ends the log: listeners get what is left.
func (l *Log[T]) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.wake()
}

// Listen gives what is added from now on. Close must be called.
func (l *Log[T]) Listen() *Listener[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &Listener[T]{log: l, next: l.end()}
	l.listeners[r] = struct{}{}
	l.listening.Store(true)
	return r
}

// Listener is one who listens. It is for one goroutine.
type Listener[T any] struct {
	log    *Log[T]
	next   uint64 // number of the item that comes next; guarded by log.mu
	missed int
}

// Next gives the next item, and how many were missed right before it. It waits for
// one until ctx ends. After the end of the log it gives what is left, and then
// io.EOF.
func (r *Listener[T]) Next(ctx context.Context) (item T, missed int, err error) {
	for {
		item, missed, more, err := r.poll()
		if !errors.Is(err, errNone) {
			return item, missed, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return item, 0, ctx.Err()
		}
	}
}

var errNone = errors.New("nothing yet")

// poll gives the next item, or what to wait for.
func (r *Listener[T]) poll() (item T, missed int, more <-chan struct{}, err error) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if missed = r.catchUp(); r.next < l.end() {
		item = l.held[r.next-l.first].item
		r.next++
		if r.next == l.first+1 {
			l.release()
		}
		return item, missed, nil, nil
	}
	if l.ended {
		return item, 0, nil, io.EOF
	}
	if l.more == nil {
		l.more = make(chan struct{})
	}
	return item, 0, l.more, errNone
}

// catchUp passes over what is not held any more, and gives its number. It must be
// called with log.mu held.
func (r *Listener[T]) catchUp() (missed int) {
	if r.next < r.log.first {
		missed = int(r.log.first - r.next)
		r.next = r.log.first
	}
	r.missed += missed
	return missed
}

// Missed is how many items Next has passed over so far.
func (r *Listener[T]) Missed() int { return r.missed }

// Close ends listening. It gives how many items were missed that Next has not told
// of.
func (r *Listener[T]) Close() (missed int) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	missed = r.catchUp()
	delete(l.listeners, r)
	l.listening.Store(len(l.listeners) > 0)
	l.release()
	return missed
}
