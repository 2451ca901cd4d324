package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// hostile is what one kind of bad client does, again and again.
type hostile struct {
	name    string
	clients int
	act     func(ctx context.Context, address string)
}

func hostiles(t testing.TB) []hostile {
	events := strings.Repeat(event("alert", 1)+"\n", 16<<20/(len(event("alert", 1))+1))
	var headers strings.Builder
	for i := 0; headers.Len() < 18<<10; i++ {
		fmt.Fprintf(&headers, "%x:\r\n", i)
	}
	random := make([]byte, 1<<20)
	for i := range random {
		random[i] = "0123456789abcdef"[i*7919%251%16]
	}
	return []hostile{
		{"slow-bodies", 2000, func(ctx context.Context, address string) {
			dribble(ctx, address, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 204800\r\n\r\n", strings.Repeat("x", 204800), 1<<10, 100*time.Millisecond)
		}},
		{"slow-zstd", 200, func(ctx context.Context, address string) {
			dribble(ctx, address, "POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: zstd\r\nTransfer-Encoding: chunked\r\n\r\n",
				chunked(windowed(t, random)), 4<<10, 20*time.Millisecond)
		}},
		{"bombs-gzip", 50, poster(packed(t, "gzip", strings.Repeat("\x00", 256<<20)), "gzip")},
		{"bombs-zstd", 50, poster(packed(t, "zstd", strings.Repeat("\x00", 256<<20)), "zstd")},
		{"bombs-of-events", 50, poster(packed(t, "zstd", events), "zstd")},
		{"large-bodies", 50, poster([]byte(events), "")},
		{"many-items", 500, poster([]byte(strings.Repeat("{}\n", 10_000)), "")},
		{"header-bombs", 1000, func(ctx context.Context, address string) {
			dribble(ctx, address, "GET / HTTP/1.1\r\nHost: x\r\n", headers.String(), 18<<10, time.Second)
		}},
		{"metrics-unread", 500, func(ctx context.Context, address string) {
			dribble(ctx, address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", " ", 1, time.Second)
		}},
	}
}

// dribble sends head at once and body in steps, and does not read.
func dribble(ctx context.Context, address, head, body string, step int, pause time.Duration) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := io.WriteString(conn, head); err != nil {
		return
	}
	for len(body) > 0 {
		n := min(step, len(body))
		if _, err := io.WriteString(conn, body[:n]); err != nil {
			return
		}
		body = body[n:]
		time.Sleep(pause)
	}
}

func chunked(body []byte) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(4<<10, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String()
}

func poster(body []byte, encoding string) func(context.Context, string) {
	return func(ctx context.Context, address string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address, bytes.NewReader(body))
		if err != nil {
			return
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		if encoding != "" {
			req.Header.Set("Content-Encoding", encoding)
		}
		transport := &http.Transport{DisableKeepAlives: true}
		if resp, err := transport.RoundTrip(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
}

func packed(t testing.TB, encoding, body string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if encoding == "zstd" {
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	if _, err := io.WriteString(w, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// windowed compresses so that a decoder which reads along needs 8 MiB.
func windowed(t testing.TB, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(8<<20), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil { // so that its size is not known in the beginning
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// attack has all of h's clients at work until stop is called.
func (h hostile) attack(ctx context.Context, address string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var clients sync.WaitGroup
	for range h.clients {
		clients.Go(func() {
			for ctx.Err() == nil {
				h.act(ctx, address)
			}
		})
	}
	return func() { cancel(); clients.Wait() }
}

// BenchmarkHostile tells the largest resident memory of the sidekick as it is built
// for use while bad clients are at it, and how an honest one fares meanwhile: it
// posts a batch of 200 KB and asks for health, both again and again, each on a new
// connection.
func BenchmarkHostile(b *testing.B) {
	program := build(b)
	batch := []byte(strings.Repeat(event("alert", 1)+"\n", 200_000/(len(event("alert", 1))+1)))
	for _, h := range hostiles(b) {
		b.Run(h.name, func(b *testing.B) {
			p := program1(b, program, b.TempDir())
			defer p.end()
			address := strings.TrimPrefix(p.url, "http://")
			var posted, healthy, failed atomic.Int64
			for b.Loop() {
				stop := h.attack(b.Context(), address)
				ctx, cancel := context.WithTimeout(b.Context(), 8*time.Second)
				var honest sync.WaitGroup
				for path, count := range map[string]*atomic.Int64{"/": &posted, "/healthz": &healthy} {
					honest.Go(func() {
						for ctx.Err() == nil {
							if succeeds(ctx, p.url+path, batch) {
								count.Add(1)
							} else if ctx.Err() == nil {
								failed.Add(1)
							}
							time.Sleep(50 * time.Millisecond)
						}
					})
				}
				honest.Wait()
				cancel()
				stop()
			}
			b.ReportMetric(p.peak(b), "peak-MB")
			b.ReportMetric(float64(posted.Load()), "posted")
			b.ReportMetric(float64(healthy.Load()), "healthy")
			b.ReportMetric(float64(failed.Load()), "failed")
		})
	}
}

func succeeds(ctx context.Context, url string, batch []byte) bool {
	method, body := http.MethodPost, io.Reader(bytes.NewReader(batch))
	if strings.HasSuffix(url, "/healthz") {
		method, body = http.MethodGet, nil
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}
