package emit

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/sidearmor/sidearmor/schema"
)

// encodeNow does what the encoding goroutine does.
func encodeNow(t *testing.T, b *buffer) {
	t.Helper()
	chunk := make([]rawEvent, 10)
	for n := b.takeRaw(chunk); n > 0; n = b.takeRaw(chunk) {
		for i := range chunk[:n] {
			text, err := chunk[i].ev.Body()
			if err != nil {
				t.Fatal(err)
			}
			b.encoded(&chunk[i], text, 0)
		}
	}
}

func kept(b *buffer) (texts []string) {
	for _, l := range b.takeLines(1<<30, 1<<30) {
		ev, err := schema.Decode(l.text)
		if err != nil {
			panic(err)
		}
		if ev.Log != nil {
			texts = append(texts, "log "+ev.Log.Resource)
		} else {
			texts = append(texts, "alert "+ev.Alert.Resource)
		}
	}
	return texts
}

// What is dropped, and what is kept in which order, does not depend on what has
// been encoded yet.
func TestAlertsAreKeptLongest(t *testing.T) {
	const one = 2000 // bytes of every event
	for _, c := range []struct {
		name  string
		space int // events
		emit  string
		want  string
		lost  [kinds]uint64
	}{
		{"room for all", 9, "laalaa", "l0 a1 a2 l3 a4 a5", [kinds]uint64{}},
		{"oldest logs first", 4, "llllll", "l2 l3 l4 l5", [kinds]uint64{aLog: 2}},
		{"logs before alerts", 3, "alalaa", "a2 a4 a5", [kinds]uint64{aLog: 2, anAlert: 1}},
		{"a log never pushes out an alert", 3, "aaal", "a0 a1 a2", [kinds]uint64{aLog: 1}},
		{"a log pushes out a log", 3, "alall", "a0 a2 l4", [kinds]uint64{aLog: 2}},
		{"the oldest alerts at last", 3, "aaaaa", "a2 a3 a4", [kinds]uint64{anAlert: 2}},
	} {
		for _, encode := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, encoded %v", c.name, encode), func(t *testing.T) {
				b := newBuffer(c.space*one + one/2)
				for i, k := range strings.Split(c.emit, "") {
					name := fmt.Sprintf("%s%d", k, i)
					ev := alertOf(name)
					if k == "l" {
						ev = logOf(name)
					}
					b.pushSized(ev, one)
					if encode {
						encodeAs(b, one)
					}
				}
				b.bound = 1 << 30
				encodeNow(t, b)
				got := kept(b)
				for i := range got {
					_, got[i], _ = strings.Cut(got[i], " ")
				}
				if s := strings.Join(got, " "); s != c.want {
					t.Errorf("kept %q, want %q", s, c.want)
				}
				if b.everLost != c.lost {
					t.Errorf("lost %v, want %v", b.everLost, c.lost)
				}
			})
		}
	}
}

// encodeAs gives every raw event a text that takes exactly size.
func encodeAs(b *buffer, size int) {
	chunk := make([]rawEvent, 10)
	for n := b.takeRaw(chunk); n > 0; n = b.takeRaw(chunk) {
		for i := range chunk[:n] {
			body, _ := chunk[i].ev.Body()
			text := make([]byte, len(body), max(len(body), size-lineOverhead))
			copy(text, body)
			b.encoded(&chunk[i], text, 0)
		}
	}
}

func TestTakeLines(t *testing.T) {
	b := newBuffer(1 << 20)
	for _, name := range names(5) {
		b.push(logOf(name))
	}
	encodeNow(t, b)
	size := len(b.oldestLine().text) + 1
	for _, c := range []struct{ bytes, events, want int }{{1, 9, 1}, {2*size - 1, 9, 1}, {2 * size, 9, 2}, {1 << 20, 1, 1}, {1 << 20, 9, 0}} {
		taken := b.takeLines(c.bytes, c.events)
		if len(taken) != c.want {
			t.Errorf("%d bytes, %d events: %d lines, want %d", c.bytes, c.events, len(taken), c.want)
		}
		for i := range taken {
			b.settle(&taken[i], true, 0)
		}
	}
	if b.used != 0 || b.lineBytes != 0 {
		t.Errorf("%d bytes, %d of lines, are left in the account", b.used, b.lineBytes)
	}
}

// The bound is one of real memory: with a sidekick that takes nothing, a flood
// of events must leave the heap about that much larger, and no more.
func TestMemoryBound(t *testing.T) {
	const bound = 4 << 20
	s := newSidekick(t)
	var open atomic.Bool
	s.answer = func(_ int, w http.ResponseWriter, _ *http.Request, _ []string) bool {
		if !open.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return !open.Load()
	}
	e, end := start(t, Options{URL: s.URL, URLGiven: true, BufferBytes: bound})
	before := heap()
	const alerts, logs = 1000, 30000
	for i := range logs {
		name := fmt.Sprintf("/data/%06d/%s", i, strings.Repeat("x", i%300))
		e.Emit(logOf(name))
		if i%(logs/alerts) == 0 {
			e.Emit(alertOf(name))
		}
	}
	eventually(t, "encoding", func() bool { return e.buffer.backlogRaw() == 0 })
	st := e.Stats()
	if st.PeakBytes > bound {
		t.Errorf("%d bytes were counted, the bound is %d", st.PeakBytes, bound)
	}
	if st.LostLogs == 0 || st.LostAlerts != 0 || st.PendingAlerts != alerts {
		t.Errorf("stats %+v: the flood must drop logs and no alert", st)
	}
	if grown := heap() - before; grown > bound*5/4 {
		t.Errorf("the heap has grown by %d bytes, the bound is %d", grown, bound)
	} else {
		t.Logf("heap +%d bytes for %d bytes counted, %d events waiting", grown, st.PendingBytes, st.PendingLogs+st.PendingAlerts)
	}
	open.Store(true)
	if err := end(long); err != nil {
		t.Fatal(err)
	}
	if got := len(s.resources()); uint64(got)+st.LostLogs != logs+alerts {
		t.Errorf("%d arrived, %d were lost, %d were emitted", got, st.LostLogs, logs+alerts)
	}
	if !slices.IsSortedFunc(s.resources(), func(a, b string) int { return strings.Compare(a[:12], b[:12]) }) {
		t.Error("out of order")
	}
	checkReports(t, s, 0, st.LostLogs, "buffer full")
}

// What an event is taken to cost before it is encoded must be what it costs.
func TestFootprint(t *testing.T) {
	const n = 2000
	b := newBuffer(1 << 30)
	before := heap()
	for i := range n {
		name := fmt.Sprintf("/data/%06d", i)
		ev := logOf(strings.Clone(name))
		if i%2 == 0 {
			ev = alertOf(name)
			ev.Alert.ATags = []string{"NIST", "MITRE"}
		}
		b.push(ev)
	}
	grown := heap() - before
	t.Logf("counted %d, really %d bytes for one event", b.used/n, grown/n)
	if real := int(grown); b.used < real*3/4 || b.used > real*3/2 {
		t.Errorf("%d bytes were counted, the heap has grown by %d", b.used, grown)
	}
	runtime.KeepAlive(b)
}

func (b *buffer) backlogRaw() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rawEvents()
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // a heap is no exabyte
}

func TestFIFO(t *testing.T) {
	var f fifo[int]
	next := 0
	for round := range 50 {
		for i := range round * 7 {
			f.push(round*1000 + i)
		}
		for i := range round * 7 {
			if *f.front() != round*1000+i {
				t.Fatalf("front is %d", *f.front())
			}
			if v, ok := f.pop(); !ok || v != round*1000+i {
				t.Fatalf("popped %d, %v", v, ok)
			}
			next++
		}
		if _, ok := f.pop(); ok || f.len() != 0 || f.front() != nil {
			t.Fatal("not empty")
		}
	}
	for i := range 1000 { // pushes and pops in turn
		f.push(i)
		f.push(i)
		if v, _ := f.pop(); v != i/2 {
			t.Fatalf("popped %d, want %d", v, i/2)
		}
	}
}

func TestBody(t *testing.T) {
	b := newBody([]line{{text: []byte("one")}, {text: []byte("")}, {text: []byte("three")}})
	if b.left != 11 {
		t.Errorf("length %d", b.left)
	}
	if err := iotest.TestReader(b, []byte("one\n\nthree\n")); err != nil {
		t.Error(err)
	}
	if _, err := b.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // Read must return it as it is
		t.Error(err)
	}
}

// An event too large for the sidekick is shortened, not lost.
func TestOversizedEvent(t *testing.T) {
	s := newSidekick(t)
	e, end := start(t, Options{URL: s.URL, URLGiven: true})
	e.Emit(alertOf("/" + strings.Repeat("a", 3<<20)))
	e.Emit(alertOf("/b"))
	if err := end(long); err != nil {
		t.Fatal(err)
	}
	got := s.resources()
	if len(got) != 2 || !strings.HasPrefix(got[0], "/aaaa") || len(got[0]) > schema.MaxStringBytes {
		t.Errorf("%d events arrived", len(got))
	}
}

func BenchmarkEmit(b *testing.B) {
	s := newSidekick(b)
	s.answer = func(int, http.ResponseWriter, *http.Request, []string) bool { return true }
	for _, kind := range []string{"sent", "full"} {
		b.Run(kind, func(b *testing.B) {
			o := Options{URL: s.URL, URLGiven: true}
			if kind == "full" {
				o.URL = "http://127.0.0.1:1/"
				o.BufferBytes = 1 << 20
			}
			e, end := start(b, o)
			ev := logOf("/usr/lib/x86_64-linux-gnu/libc.so.6")
			b.ReportAllocs()
			for b.Loop() {
				e.Emit(ev)
			}
			b.StopTimer()
			b.ReportMetric(float64(e.Stats().LostLogs)/float64(b.N), "lost/op")
			_ = end(0)
		})
	}
}

// BenchmarkEmitAlone is the price on the caller's thread, without the encoder
// beside it.
func BenchmarkEmitAlone(b *testing.B) {
	e, err := New(Options{URL: "http://127.0.0.1:1/", BufferBytes: 16 << 20})
	if err != nil {
		b.Fatal(err)
	}
	ev := logOf("/usr/lib/x86_64-linux-gnu/libc.so.6")
	b.ReportAllocs()
	for b.Loop() {
		e.Emit(ev)
	}
}

// BenchmarkEncode bounds the rate at which events can be reported at all.
func BenchmarkEncode(b *testing.B) {
	e, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	ev := logOf("/usr/lib/x86_64-linux-gnu/libc.so.6")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.text(&ev); err != nil {
			b.Fatal(err)
		}
	}
}
