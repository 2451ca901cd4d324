package emit

import (
	"sync"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

// kind decides how long an event is kept.
type kind uint8

const (
	aLog kind = iota
	anAlert
	kinds
)

func kindOf(ev *schema.Event) kind {
	if ev.Kind == schema.KindLog {
		return aLog
	}
	return anAlert
}

// rawEvent waits to be encoded.
type rawEvent struct {
	seq  uint64
	size int // estimated memory
	ev   schema.Event
}

// line is one encoded event, without the newline.
type line struct {
	seq    uint64
	kind   kind
	report bool      // it is the emitter's own report of loss, in no account
	at     time.Time // when it was encoded
	text   []byte
}

// lineOverhead is what a waiting line costs beside its bytes: its place in the
// queue.
const lineOverhead = 80

func (l *line) size() int { return cap(l.text) + lineOverhead }

// buffer holds the events that wait, logs and alerts apart, each in order. All
// of them, and the batch that is being sent, count against one bound of bytes.
type buffer struct {
	mu        sync.Mutex
	bound     int
	used      int // bytes, at most bound
	peak      int
	seq       uint64
	closed    bool
	raw       [kinds]fifo[rawEvent]
	rawBytes  int // of these, as estimated
	lines     [kinds]fifo[line]
	lineBytes int        // of the texts in lines
	busy      [kinds]int // taken out and not settled: being encoded or sent
	lost      loss       // not reported yet
	everLost  [kinds]uint64
}

func newBuffer(bound int) *buffer { return &buffer{bound: bound} }

// push takes an event and reports whether the encoder has to be woken: for the
// first event, and when so many wait that it must not gather more.
func (b *buffer) push(ev schema.Event) bool { return b.pushSized(ev, footprint(&ev)) }

func (b *buffer) pushSized(ev schema.Event, size int) bool {
	k := kindOf(&ev)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	if b.closed {
		b.drop(k, afterEnd)
		return false
	}
	if !b.makeRoom(size, k) {
		b.drop(k, bufferFull)
		return false
	}
	first := b.rawBytes == 0
	b.grow(size)
	b.rawBytes += size
	b.raw[k].push(rawEvent{seq: b.seq, size: size, ev: ev})
	return first || b.rawBytes >= b.bound/4
}

func (b *buffer) rawEvents() int { return b.raw[aLog].len() + b.raw[anAlert].len() }

func (b *buffer) grow(size int) {
	b.used += size
	b.peak = max(b.peak, b.used)
}

// makeRoom drops what may go for an event of kind k until size more bytes fit:
// the oldest logs, and for an alert, when no log is left, the oldest alerts.
func (b *buffer) makeRoom(size int, k kind) bool {
	if size > b.bound {
		return false
	}
	for b.used+size > b.bound {
		if b.dropOldest(aLog) {
			continue
		}
		if k == aLog || !b.dropOldest(anAlert) {
			return false
		}
	}
	return true
}

// dropOldest drops the oldest event of kind k. Whatever is encoded is older
// than whatever is not.
func (b *buffer) dropOldest(k kind) bool {
	if l, ok := b.lines[k].pop(); ok {
		b.used -= l.size()
		b.lineBytes -= len(l.text)
	} else if r, ok := b.raw[k].pop(); ok {
		b.used -= r.size
		b.rawBytes -= r.size
	} else {
		return false
	}
	b.drop(k, bufferFull)
	return true
}

// drop counts an event as lost. The caller holds mu.
func (b *buffer) drop(k kind, why reason) {
	b.everLost[k]++
	b.lost.add(k, why)
}

// takeRaw moves the oldest raw events out, in order, at most len(into).
func (b *buffer) takeRaw(into []rawEvent) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ; n < len(into) && b.rawEvents() > 0; n++ {
		k := aLog
		if l, a := b.raw[aLog].front(), b.raw[anAlert].front(); l == nil || a != nil && a.seq < l.seq {
			k = anAlert
		}
		into[n], _ = b.raw[k].pop()
		b.rawBytes -= into[n].size
		b.busy[k]++
	}
	return n
}

// encoded puts the text of a raw event in its place; nil counts it as lost. An
// alert that grew in encoding may push out logs, a log only itself.
func (b *buffer) encoded(r *rawEvent, text []byte, why reason) {
	l := line{seq: r.seq, kind: kindOf(&r.ev), at: time.Now(), text: text}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy[l.kind]--
	b.used -= r.size
	switch {
	case text == nil:
		b.drop(l.kind, why)
	case !b.makeRoom(l.size(), l.kind):
		b.drop(l.kind, bufferFull)
	default:
		b.grow(l.size())
		b.lineBytes += len(text)
		b.lines[l.kind].push(l)
	}
}

// takeLines moves the oldest lines out, in order: as many as fit into a batch
// of so many bytes and events, but one whatever its size. They count against
// the bound until settle.
func (b *buffer) takeLines(maxBytes, maxEvents int) (taken []line) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for size := 0; len(taken) < maxEvents; {
		l := b.oldestLine()
		if l == nil {
			break
		}
		if size += len(l.text) + 1; len(taken) > 0 && size > maxBytes {
			break
		}
		k := l.kind
		popped, _ := b.lines[k].pop()
		b.lineBytes -= len(popped.text)
		b.busy[k]++
		taken = append(taken, popped)
	}
	return taken
}

func (b *buffer) oldestLine() *line {
	l, a := b.lines[aLog].front(), b.lines[anAlert].front()
	if l == nil || a != nil && a.seq < l.seq {
		return a
	}
	return l
}

// settle ends the account of a line that takeLines gave: it was delivered, or
// it is lost.
func (b *buffer) settle(l *line, delivered bool, why reason) {
	if l.report {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy[l.kind]--
	b.used -= l.size()
	if !delivered {
		b.drop(l.kind, why)
	}
}

// backlog is what the sending side has to know of the buffer.
type backlog struct {
	pending int       // events that are not settled
	lines   int       // of these, encoded and waiting
	bytes   int       // of those
	oldest  time.Time // when the oldest of those was encoded
	lost    bool      // something is to be reported
}

func (b *buffer) backlog() backlog {
	b.mu.Lock()
	defer b.mu.Unlock()
	log := backlog{
		pending: b.pending(aLog) + b.pending(anAlert),
		lines:   b.lines[aLog].len() + b.lines[anAlert].len(), bytes: b.lineBytes, lost: b.lost.any(),
	}
	if l := b.oldestLine(); l != nil {
		log.oldest = l.at
	}
	return log
}

func (b *buffer) pending(k kind) int { return b.raw[k].len() + b.lines[k].len() + b.busy[k] }

// takeLoss hands out, once, what was lost and not reported.
func (b *buffer) takeLoss() loss {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lost
	b.lost = loss{}
	return l
}

func (b *buffer) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

func (b *buffer) stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{
		Emitted: b.seq, LostAlerts: b.everLost[anAlert], LostLogs: b.everLost[aLog],
		PendingAlerts: b.pending(anAlert), PendingLogs: b.pending(aLog),
		PendingBytes: b.used, PeakBytes: b.peak,
	}
}
