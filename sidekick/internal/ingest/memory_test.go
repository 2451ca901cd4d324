package ingest

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	runtimemetrics "runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/schema"
)

// limitedServer is one whose memory is as change makes it.
func limitedServer(t *testing.T, s *store, change func(*budget)) (server *httptest.Server, r *budget, noted *atomic.Int64) {
	t.Helper()
	noted = new(atomic.Int64)
	h := handlerFor(s)
	h.memory = newBudget(func() { noted.Add(1) })
	change(h.memory)
	server = httptest.NewServer(http.HandlerFunc(h.events))
	t.Cleanup(server.Close)
	return server, h.memory, noted
}

func handlerFor(s *store) *handler {
	return &handler{
		store: s, metrics: newMetrics(prometheus.NewRegistry(), nil), log: slog.New(slog.DiscardHandler),
		inflate: newInflater(), limited: func(string) {},
	}
}

func slowly(t *testing.T, server *httptest.Server, head, part string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, head+part); err != nil {
		t.Fatal(err)
	}
	return conn
}

// until waits for what another goroutine is about to do.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("in vain: ", what)
		}
	}
}

func (r *budget) slowOnes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.slow)
}

// Clients that have sent most of a large body and dribble make place for one that
// is fast, and are told to come again.
func TestSlowBodiesGiveWay(t *testing.T) {
	s := &store{}
	const size = MaxBodyBytes/2 - 1000 // three fill the memory
	server, memory, noted := limitedServer(t, s, func(r *budget) { r.grace = 10 * time.Millisecond })
	head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
	var slow []net.Conn
	for i := range 3 {
		slow = append(slow, slowly(t, server, head, strings.Repeat(" ", size-1)))
		until(t, "it is waited for", func() bool { return memory.slowOnes() == i+1 })
	}
	body := logEvent + strings.Repeat(" ", size)
	if status, text, _ := post(t, server.URL, strings.NewReader(body)); status != 200 || len(s.events) != 1 {
		t.Errorf("the fast one: %d %.200s", status, text)
	}
	if noted.Load() == 0 {
		t.Error("not counted")
	}
	got, err := io.ReadAll(slow[0])
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 503 ") || !strings.Contains(string(got), "Retry-After: 1") {
		t.Errorf("the slowest: %q, %v", got, err)
	}
}

// Where all who have memory are at work, who comes is told to come again.
func TestNoRoom(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan struct{}, 10)
	s := &store{refuse: func([]schema.Event) error { entered <- struct{}{}; <-release; return nil }}
	server, _, noted := limitedServer(t, s, func(r *budget) { r.wait = 10 * time.Millisecond; r.grace = time.Millisecond })
	large := strings.Repeat(logEvent+"\n", 10_000)
	// The store of the tests lets one in at a time; the others wait with their memory.
	var posts sync.WaitGroup
	for range 2 { // each of some 10 MiB of 24
		posts.Go(func() {
			if status, text, _ := post(t, server.URL, strings.NewReader(large)); status != 200 {
				t.Errorf("at work: %d %.200s", status, text)
			}
		})
	}
	<-entered
	until(t, "one gets no memory", func() bool {
		status, _, header := post(t, server.URL, strings.NewReader(large))
		return status == 503 && header.Get("Retry-After") == "1"
	})
	if noted.Load() == 0 {
		t.Error("not counted")
	}
	close(release)
	posts.Wait()
	if status, text, _ := post(t, server.URL, strings.NewReader(large)); status != 200 {
		t.Errorf("afterwards: %d %.200s", status, text)
	}
}

// Whatever becomes of a request, its memory is free again.
func TestRoomIsGivenBack(t *testing.T) {
	h := handlerFor(&store{})
	h.memory = newBudget(func() {})
	large := strings.Repeat(logEvent+"\n", 5000)
	for name, c := range map[string]struct{ body, encoding string }{
		"taken":      {large, ""},
		"bad":        {strings.Repeat("x\n", 5000), ""},
		"too large":  {strings.Repeat(" ", MaxBodyBytes+1), ""},
		"gzip":       {packed(t, "gzip", large).String(), "gzip"},
		"half":       {packed(t, "gzip", large).String()[:1000], "gzip"},
		"zstd bomb":  {packed(t, "zstd", strings.Repeat("x", 20<<20)).String(), "zstd"},
		"too many":   {strings.Repeat("{}\n", MaxEvents+1), ""},
		"half array": {"[" + strings.Repeat("{},", 9000), ""},
	} {
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
		req.Header.Set("Content-Encoding", c.encoding)
		h.events(httptest.NewRecorder(), req)
		for k, size := range h.memory.size {
			if !h.memory.free[k].TryAcquire(size) {
				t.Fatalf("%s: kind %d is not free", name, k)
			}
			h.memory.free[k].Release(size)
		}
		if n := h.memory.slowOnes(); n != 0 {
			t.Errorf("%s: %d are waited for", name, n)
		}
	}
}

// Bodies that dribble in, and bombs, cost bounded memory. The bound leaves out
// what the connections themselves cost, and is generous.
func TestBoundedHeap(t *testing.T) {
	server := serve(t, &store{}, nil)
	events := packed(t, "zstd", strings.Repeat(logEvent+"\n", MaxBodyBytes/(len(logEvent)+1))).Bytes()
	bomb := packed(t, "gzip", strings.Repeat("\x00", 64<<20)).Bytes()
	runtime.GC()
	before := live()
	const clients = 300
	for range clients {
		// Each would have 128 KiB in memory: 38 MiB together, and say they have more to come.
		conn := slowly(t, server, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n\r\n", "")
		go func() { _, _ = io.WriteString(conn, strings.Repeat(" ", 128<<10)) }()
	}
	var posts sync.WaitGroup
	for i := range 20 {
		posts.Go(func() {
			body, encoding := events, "zstd"
			if i%2 == 0 {
				body, encoding = bomb, "gzip"
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader(string(body)))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Content-Encoding", encoding)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return // cut off
			}
			_ = resp.Body.Close()
			if resp.StatusCode != 413 && resp.StatusCode != 503 {
				t.Errorf("%s: %s", encoding, resp.Status)
			}
		})
	}
	done := make(chan struct{})
	go func() { posts.Wait(); close(done) }()
	most := before
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(5 * time.Millisecond):
		}
		most = max(most, live())
	}
	t.Logf("at most %d MiB more than before", (most-before)>>20)
	if most-before > 200<<20 {
		t.Errorf("%d MiB more than before", (most-before)>>20)
	}
}

// live is what the last collection has found in use: garbage depends on when the
// next one comes.
func live() uint64 {
	sample := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(sample)
	return sample[0].Value.Uint64()
}

func TestPaced(t *testing.T) {
	var asked []int
	wait := time.Duration(0)
	server, s, log := guardedServer(t, nil, func(o *Options) {
		o.Pace = func(_ *http.Request, events int) time.Duration {
			asked = append(asked, events)
			if events > 1 {
				return wait
			}
			return 0
		}
	})
	body := logEvent + "\n" + alertEvent
	if status, text, _ := post(t, server.URL, strings.NewReader(body)); status != 200 || fmt.Sprint(asked) != "[0 2]" {
		t.Errorf("%d %s, asked %v", status, text, asked)
	}
	for given, want := range map[time.Duration]string{time.Millisecond: "1", 90 * time.Second: "90"} {
		wait = given
		status, text, header := post(t, server.URL, strings.NewReader(body))
		if status != 429 || header.Get("Retry-After") != want || text != `{"error":"more events than RATE_LIMIT allows one source"}` {
			t.Errorf("%d %s %v", status, text, header)
		}
	}
	if len(s.events) != 2 {
		t.Errorf("%d stored", len(s.events))
	}
	if text := log.String(); strings.Count(text, "beyond RATE_LIMIT") != 1 {
		t.Errorf("log:\n%s", text)
	}
	if !strings.Contains(get(t, server.URL+"/metrics"), `sidearmor_rejected_events_total{reason="rate"} 2`) {
		t.Error("not counted")
	}
}
