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

// line is one encoded event, without the newline.
type line struct {
	seq    uint64
	kind   kind
	report bool      // it is the emitter's own report of loss, in no account
	at     time.Time // when it came
	text   []byte
	block  *block // that the text is in, nil for none
}

// lineOverhead is what a waiting line costs beside its bytes: its place in the
// queue.
const lineOverhead = 80

func (l *line) size() int { return len(l.text) + lineOverhead }

// buffer holds the encoded events that wait, logs and alerts apart, each in order.
// All of them, and the batch that is being sent, count against one bound of bytes.
type buffer struct {
	mu        sync.Mutex
	bound     int
	used      int // bytes, at most bound
	peak      int
	high      int // as peak, since all was settled the last time
	seq       uint64
	closed    bool
	lines     [kinds]fifo[line]
	texts     [kinds]blocks
	lineBytes int        // of the texts in lines
	busy      [kinds]int // taken out and not settled: being sent
	lost      loss       // not reported yet
	everLost  [kinds]uint64
}

func newBuffer(bound int) *buffer { return &buffer{bound: bound} }

// push takes an event, of whose text it makes a copy, and says how much waits then.
func (b *buffer) push(k kind, text []byte) (events, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	l := line{seq: b.seq, kind: k, at: time.Now(), text: text}
	switch {
	case b.closed:
		b.drop(k, afterEnd)
	case !b.makeRoom(l.size(), k):
		b.drop(k, bufferFull)
	default:
		l.text, l.block = b.texts[k].store(text)
		b.grow(l.size())
		b.lineBytes += len(text)
		b.lines[k].push(l)
	}
	return b.waiting(), b.lineBytes
}

// fail counts an event that could not be encoded.
func (b *buffer) fail(k kind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	b.drop(k, notEncoded)
}

func (b *buffer) grow(size int) {
	b.used += size
	b.peak, b.high = max(b.peak, b.used), max(b.high, b.used)
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

// dropOldest drops the oldest event of kind k.
func (b *buffer) dropOldest(k kind) bool {
	l, ok := b.lines[k].pop()
	if !ok {
		return false
	}
	b.used -= l.size()
	b.lineBytes -= len(l.text)
	b.texts[k].release(l.block)
	b.drop(k, bufferFull)
	return true
}

// drop counts an event as lost. The caller holds mu.
func (b *buffer) drop(k kind, why reason) {
	b.everLost[k]++
	b.lost.add(k, why)
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
	b.texts[l.kind].release(l.block)
	if !delivered {
		b.drop(l.kind, why)
	}
}

// emptied says that nothing waits any more, after more than size bytes did.
func (b *buffer) emptied(size int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used > 0 {
		return false
	}
	high := b.high
	b.high = 0
	return high > size
}

// backlog is what the sending side has to know of the buffer.
type backlog struct {
	lines  int       // events that wait
	bytes  int       // of these
	oldest time.Time // when the oldest of them came
	lost   bool      // something is to be reported
}

func (b *buffer) backlog() backlog {
	b.mu.Lock()
	defer b.mu.Unlock()
	log := backlog{lines: b.waiting(), bytes: b.lineBytes, lost: b.lost.any()}
	if l := b.oldestLine(); l != nil {
		log.oldest = l.at
	}
	return log
}

func (b *buffer) waiting() int { return b.lines[aLog].len() + b.lines[anAlert].len() }

func (b *buffer) pending(k kind) int { return b.lines[k].len() + b.busy[k] }

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
