package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkLatency tells how long a POST of one event takes at a thousand a second,
// beside a handler that does nothing: half of them, and all but one in a hundred.
func BenchmarkLatency(b *testing.B) {
	nothing := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer nothing.Close()
	s := program1(b, build(b), b.TempDir())
	for _, target := range []struct{ name, url string }{{"nothing", nothing.URL}, {"sidekick", s.url}} {
		b.Run(target.name, func(b *testing.B) {
			took := paced(b, target.url, time.Millisecond)
			slices.Sort(took)
			ms := func(share float64) float64 { return took[int(share*float64(len(took)-1))].Seconds() * 1e3 }
			b.ReportMetric(ms(0.5), "p50-ms")
			b.ReportMetric(ms(0.99), "p99-ms")
		})
	}
}

// paced posts b.N events, one after each interval whether the last is answered or
// not, and gives how long each took from when it was due.
func paced(b *testing.B, url string, interval time.Duration) (all []time.Duration) {
	b.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	due, took := make(chan time.Time, b.N), make(chan time.Duration, b.N)
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			for at := range due {
				if err := send(b, transport, url, sample, ""); err != nil {
					b.Error(err)
				}
				took <- time.Since(at)
			}
		})
	}
	start := time.Now()
	for i := range b.N {
		at := start.Add(time.Duration(i) * interval)
		time.Sleep(time.Until(at))
		due <- at
	}
	close(due)
	wg.Wait()
	close(took)
	for d := range took {
		all = append(all, d)
	}
	return all
}

// BenchmarkStart tells how long a sidekick takes from its start until it says that
// it is ready: with nothing stored, and killed with 150,000 events waiting.
func BenchmarkStart(b *testing.B) {
	program := build(b)
	waiting := b.TempDir()
	s := program1(b, program, waiting)
	s.fill(b, strings.Repeat(sample+"\n", 1000), 150)
	s.end()
	for b.Loop() {
		for metric, dir := range map[string]string{"empty-ms": b.TempDir(), "waiting-ms": waiting} {
			begin := time.Now()
			s := program1(b, program, dir)
			for !s.ready() {
				time.Sleep(time.Millisecond)
			}
			b.ReportMetric(time.Since(begin).Seconds()*1e3, metric)
			s.end()
		}
	}
}

func (p *built) ready() bool {
	resp, err := http.Get(p.url + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
