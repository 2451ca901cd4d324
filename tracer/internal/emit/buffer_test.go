package emit

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

// push encodes an event and puts it into the buffer.
func push(t *testing.T, b *buffer, ev schema.Event) {
	t.Helper()
	text, err := ev.Body()
	if err != nil {
		t.Fatal(err)
	}
	b.push(kindOf(&ev), text)
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
		t.Run(c.name, func(t *testing.T) {
			b := newBuffer(c.space*one + one/2)
			for i, k := range strings.Split(c.emit, "") {
				name := fmt.Sprintf("%s%d", k, i)
				ev := alertOf(name)
				if k == "l" {
					ev = logOf(name)
				}
				body, err := ev.Body()
				if err != nil {
					t.Fatal(err)
				}
				b.push(kindOf(&ev), append(body, bytes.Repeat([]byte(" "), one-lineOverhead-len(body))...))
			}
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

func TestTakeLines(t *testing.T) {
	b := newBuffer(1 << 20)
	for _, name := range names(5) {
		push(t, b, logOf(name))
	}
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
	st := e.Stats()
	if st.PeakBytes > bound {
		t.Errorf("%d bytes were counted, the bound is %d", st.PeakBytes, bound)
	}
	if st.LostLogs == 0 || st.LostAlerts != 0 || st.PendingAlerts != alerts {
		t.Errorf("stats %+v: the flood must drop logs and no alert", st)
	}
	// The sidekick of the test is in this process, and has a batch now and then.
	grown := heap() - before
	for tries := 0; grown > bound*5/4 && tries < 100; tries++ {
		time.Sleep(20 * time.Millisecond)
		grown = heap() - before
	}
	if grown > bound*5/4 {
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

// What a waiting event is taken to cost must be what it costs.
func TestCost(t *testing.T) {
	const n = 20000
	b := newBuffer(1 << 30)
	before := heap()
	for i := range n {
		name := fmt.Sprintf("/data/%06d", i)
		ev := logOf(name)
		if i%2 == 0 {
			ev = alertOf(name)
		}
		push(t, b, ev)
	}
	grown := heap() - before
	t.Logf("counted %d, really %d bytes for one event", b.used/n, grown/n)
	if real := int(grown); b.used < real*9/10 || b.used > real*11/10 {
		t.Errorf("%d bytes were counted, the heap has grown by %d", b.used, grown)
	}
	runtime.KeepAlive(b)
}

// The memory of lines is used again, and never while one of them is in use.
func TestBlocks(t *testing.T) {
	var s blocks
	var waiting []line
	text := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%26)}, 1+i*37%maxShared) }
	seen := map[*block]bool{}
	for i := range 5000 {
		l := line{seq: uint64(i)}
		l.text, l.block = s.store(text(i))
		waiting = append(waiting, l)
		seen[l.block] = true
		for len(waiting) > i%100 {
			if old := waiting[0]; !bytes.Equal(old.text, text(int(old.seq))) { //nolint:gosec // small
				t.Fatalf("line %d was overwritten", old.seq)
			}
			s.release(waiting[0].block)
			waiting = waiting[1:]
		}
	}
	if len(seen) > 30 {
		t.Errorf("%d blocks for at most 100 lines", len(seen))
	}
	if _, b := s.store(make([]byte, maxShared+1)); b != nil {
		t.Error("a long text is in a block")
	}
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
	var reading sync.WaitGroup
	b := newBody([]line{{text: []byte("one")}, {text: []byte("")}, {text: []byte("three")}}, &reading)
	if b.left != 11 {
		t.Errorf("length %d", b.left)
	}
	if err := iotest.TestReader(b, []byte("one\n\nthree\n")); err != nil {
		t.Error(err)
	}
	if _, err := b.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // Read must return it as it is
		t.Error(err)
	}
	for range 2 { // as often as the transport likes
		_ = b.Close()
	}
	reading.Wait()
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
