package api

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// streamed is a server with a stream of what is put into messages.
type streamed struct {
	*httptest.Server
	messages chan Message
	ended    chan error
	arrived  atomic.Int64
}

func serveStream(t *testing.T, most int, limits func(*http.Server)) *streamed {
	t.Helper()
	s := &streamed{messages: make(chan Message), ended: make(chan error, 10)}
	a := newAPI(t, Options{
		Streams: most, Arrived: func(context.Context) { s.arrived.Add(1) },
		Routes: []Route{
			{Path: "/stream", Method: http.MethodGet, Class: Read, Stream: true, Handler: func(w http.ResponseWriter, r *http.Request) {
				s.ended <- SendEvents(w, r, s.messages)
			}},
		},
	})
	s.Server = httptest.NewUnstartedServer(nil)
	s.Config = a.Server(a.Handler(Door{Local: true}))
	limits(s.Config)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// open gives the lines of a stream.
func (s *streamed) open(t *testing.T, ctx context.Context) (*http.Response, *bufio.Reader) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/stream", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp, bufio.NewReader(resp.Body)
}

// A stream outlives the time that a request and an answer have.
func TestStreamOutlivesTheServersLimits(t *testing.T) {
	const limit = 50 * time.Millisecond
	s := serveStream(t, 1, func(c *http.Server) { c.ReadTimeout, c.WriteTimeout = limit, limit })
	resp, lines := s.open(t, t.Context())
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || s.arrived.Load() != 1 {
		t.Fatalf("%s %v, %d arrived", resp.Status, resp.Header, s.arrived.Load())
	}
	for until := time.Now().Add(10 * limit); time.Now().Before(until); {
		select {
		case s.messages <- Message{Name: "n", ID: "7", Data: []byte("a\nb\r\nc\rd")}:
		case err := <-s.ended:
			t.Fatalf("it ended: %v", err)
		}
		for _, want := range []string{"event: n", "id: 7", "data: a", "data: b", "data: c", "data: d", ""} {
			if line, err := lines.ReadString('\n'); err != nil || line != want+"\n" {
				t.Fatalf("%q, %v; want %q", line, err, want)
			}
		}
	}
	// There are only so many, and each that ends makes place.
	second, _ := s.open(t, t.Context())
	if second.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a second: %s", second.Status)
	}
	resp.Body.Close()
	if err := <-s.ended; err != nil {
		t.Errorf("the client has left: %v", err)
	}
	for range 1000 {
		if third, _ := s.open(t, t.Context()); third.StatusCode == 200 {
			return
		}
		time.Sleep(10 * time.Millisecond) // the place is free a moment after the handler ended
	}
	t.Error("no place for a third")
}

func TestStreamsEndWithTheServer(t *testing.T) {
	s := serveStream(t, 2, func(*http.Server) {})
	_, one := s.open(t, t.Context())
	_, two := s.open(t, t.Context())
	if err := s.Config.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, lines := range []*bufio.Reader{one, two} {
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
		if line, err := lines.ReadString('\n'); err == nil {
			t.Errorf("%q after the end", line)
		}
	}
}

func TestStreamOfAClosedChannel(t *testing.T) {
	s := serveStream(t, 1, func(*http.Server) {})
	close(s.messages)
	_, lines := s.open(t, t.Context())
	if _, err := lines.ReadString('\n'); err == nil {
		t.Error("it goes on")
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

func TestMessageEncode(t *testing.T) {
	var b bytes.Buffer
	if err := (Message{Data: []byte(`{"a":1}`)}).encode(&b); err != nil || b.String() != "data: {\"a\":1}\n\n" {
		t.Errorf("%q, %v", &b, err)
	}
	for _, m := range []Message{{Name: "a\nb"}, {ID: "a\rb"}, {ID: "\x00"}} {
		if err := m.encode(&b); err == nil || strings.Contains(b.String(), "a\n") {
			t.Errorf("%+v: %v", m, err)
		}
	}
}
