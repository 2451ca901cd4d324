package access

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// served is a server whose /hold waits, as one does that works on a request, and
// whose /slow waits for a body.
type served struct {
	address string
	all     *Connections
	closed  atomic.Int64
	release chan struct{}
	reached chan struct{}
}

func serveLimited(t *testing.T, most int) *served {
	t.Helper()
	s := &served{release: make(chan struct{}), reached: make(chan struct{}, 100)}
	s.all = NewConnections(most, func() { s.closed.Add(1) })
	mux := http.NewServeMux()
	mux.HandleFunc("/hold", func(_ http.ResponseWriter, r *http.Request) {
		Arrived(r.Context())
		s.reached <- struct{}{}
		<-s.release
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
		s.reached <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body)
	})
	mux.HandleFunc("/ok", func(http.ResponseWriter, *http.Request) {})
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	s.all.Watch(server)
	s.address = l.Addr().String()
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(s.all.Listener(l)) }()
	t.Cleanup(func() {
		select {
		case <-s.release:
		default:
			close(s.release)
		}
		_ = server.Close()
		<-done
	})
	return s
}

// dialed is a client's connection.
type dialed struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (s *served) dial(t *testing.T, send string) *dialed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, send); err != nil {
		t.Fatal(err)
	}
	return &dialed{Conn: conn, t: t, r: bufio.NewReader(conn)}
}

// status is 0 when the connection was closed instead of an answer.
func (d *dialed) status() int {
	d.t.Helper()
	resp, err := http.ReadResponse(d.r, nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n" }

// until waits for what another goroutine is about to do.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("in vain: ", what)
		}
	}
}

func (c *Connections) count() (open, waiting, headers int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open, c.waiting.Len(), c.headers
}

// Whoever is waited for longest makes place, be it idle, or sending a header or a
// body; whoever has been heard is not cut off.
func TestConnections(t *testing.T) {
	for name, first := range map[string]string{
		"says nothing":     "",
		"dribbles headers": "GET / HTTP/1.1\r\nHost: x\r\nA: ",
		"dribbles a body":  "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
		"is idle":          get("/ok"),
	} {
		t.Run(name, func(t *testing.T) {
			s := serveLimited(t, 3)
			old := s.dial(t, first)
			switch name {
			case "is idle":
				if got := old.status(); got != 200 {
					t.Fatal(got)
				}
			case "dribbles a body":
				<-s.reached
			default:
				until(t, "it is accepted", func() bool { n, _, _ := s.all.count(); return n == 1 })
			}
			busy := s.dial(t, get("/hold"))
			<-s.reached
			third := s.dial(t, get("/ok"))
			if got := third.status(); got != 200 || s.closed.Load() != 0 {
				t.Fatalf("status %d, %d closed", got, s.closed.Load())
			}
			if got := s.dial(t, get("/ok")).status(); got != 200 {
				t.Errorf("one more: status %d", got)
			}
			if got := old.status(); got != 0 || s.closed.Load() != 1 {
				t.Errorf("the oldest: status %d, %d closed", got, s.closed.Load())
			}
			close(s.release)
			if got := busy.status(); got != 200 {
				t.Errorf("the busy one: status %d", got)
			}
		})
	}
}

func TestConnectionsAllBusy(t *testing.T) {
	s := serveLimited(t, 2)
	busy := []*dialed{s.dial(t, get("/hold")), s.dial(t, get("/hold"))}
	<-s.reached
	<-s.reached
	if got := s.dial(t, "").status(); got != 0 || s.closed.Load() != 1 {
		t.Errorf("one more: status %d, %d closed", got, s.closed.Load())
	}
	close(s.release)
	for _, d := range busy {
		if got := d.status(); got != 200 {
			t.Errorf("status %d", got)
		}
	}
	if got := s.dial(t, get("/ok")).status(); got != 200 {
		t.Errorf("afterwards: status %d", got)
	}
}

// Nothing is counted twice or for ever.
func TestConnectionsComeAndGo(t *testing.T) {
	s := serveLimited(t, 20)
	for i := range 200 {
		d := s.dial(t, get("/ok")+get("/ok")+"GET /ok HTT") // pipelined, and half of a third
		for range 2 {
			if got := d.status(); got != 200 {
				t.Fatalf("%d: status %d", i, got)
			}
		}
		_ = d.Close()
	}
	until(t, "all are gone", func() bool {
		open, waiting, headers := s.all.count()
		return open == 0 && waiting == 0 && headers == 0
	})
}

// Headers that are not complete take no more than headerBytes together.
func TestHeaderBombs(t *testing.T) {
	s := serveLimited(t, 1000)
	const size, bombs = 16 << 10, 2 * headerBytes / (16 << 10)
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%x:\r\n", i)
	}
	for range bombs {
		// The server may close it while it is written.
		d := s.dial(t, "GET / HTTP/1.1\r\nHost: x\r\n")
		_, _ = io.WriteString(d, b.String())
	}
	until(t, "some are closed", func() bool { return s.closed.Load() > 0 })
	if _, _, headers := s.all.count(); headers > headerBytes {
		t.Errorf("%d bytes of headers", headers)
	}
	if got := s.dial(t, get("/ok")).status(); got != 200 {
		t.Errorf("another client: status %d", got)
	}
}

func TestTooManyHeaders(t *testing.T) {
	s := serveLimited(t, 10)
	for n, want := range map[int]int{maxHeaders: 200, maxHeaders + 1: 431} {
		for _, line := range []string{"A: b\r\n", "A%d: b\r\n"} {
			var b strings.Builder
			for i := range n {
				if strings.Contains(line, "%d") {
					fmt.Fprintf(&b, line, i)
				} else {
					b.WriteString(line)
				}
			}
			d := s.dial(t, "GET /ok HTTP/1.1\r\nHost: x\r\n"+b.String()+"\r\n")
			if got := d.status(); got != want {
				t.Errorf("%d of %q: status %d", n, line, got)
			}
		}
	}
}
