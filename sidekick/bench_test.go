package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// connections is how many clients post at once.
const connections = 8

// sample is a usual event.
const sample = `{"Timestamp":1767322800,"UpdatedTime":"2026-01-02T03:00:00.000000Z","ClusterName":"c","HostName":"ip-10-0-1-2",` +
	`"NamespaceName":"default","PodName":"p","Labels":"app=x","ContainerID":"0123456789abcdef","ContainerName":"c","PPID":1,"PID":42,` +
	`"UID":0,"ParentProcessName":"/bin/bash","ProcessName":"/bin/cat","PolicyName":"ksp-x","Severity":"5","Type":"MatchedPolicy",` +
	`"Source":"/bin/cat /etc/shadow","Operation":"File","Resource":"/etc/shadow","Data":"syscall=SYS_OPENAT","Action":"Block","Result":"Permission denied"}`

// logSample is a usual log of the tracer.
const logSample = `{"Timestamp":1795875327,"UpdatedTime":"2026-11-28T14:15:27.188439Z","HostName":"vm","NamespaceName":"container_namespace",` +
	`"PodName":"web-5f7d9c7b4-x2x8k","ContainerName":"web","ParentProcessName":"/usr/bin/dash","ProcessName":"/usr/bin/grep","HostPPID":30151,` +
	`"HostPID":30157,"PPID":30151,"PID":30157,"UID":0,"Type":"ContainerLog","Source":"/usr/bin/grep -r needle /etc/ssl /etc/apt","Operation":"File",` +
	`"Resource":"/etc/ssl/certs/ca-certificates.crt","Data":"syscall=SYS_OPENAT fd=-100 flags=O_RDONLY|O_CLOEXEC",` +
	`"EventData":{"Fd":"-100","Flags":"O_RDONLY|O_CLOEXEC","Syscall":"SYS_OPENAT"},"Result":"Passed","Cwd":"/srv/","ExecEvent":{"ExecID":"0","ExecutableName":"grep"},"NodeID":"vm"}`

// BenchmarkPost measures events accepted and stored over loopback, beside a bare
// handler that only decodes the body into a map and stores nothing.
func BenchmarkPost(b *testing.B) {
	bare := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m map[string]any
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			b.Error(err)
		}
	}))
	defer bare.Close()
	for _, c := range []struct {
		name, body string
		events     int
		bare       bool
	}{
		{"single", sample, 1, false},
		{"single/bare", sample, 1, true},
		{"ndjson100", strings.Repeat(sample+"\n", 100), 100, false},
		{"ndjson300", strings.Repeat(logSample+"\n", 300), 300, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			url := bare.URL
			if !c.bare {
				s := insideB(b)
				url = s.url
				b.Cleanup(func() { s.stop() })
			}
			b.ResetTimer()
			before := processorTime(b)
			hammer(b, url, c.body)
			b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N*c.events), "cpu-ns/event")
			b.ReportMetric(float64(b.N*c.events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// processorTime is what this process has used, client and server. Other than the time
// that passes it hardly depends on what else the machine does.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func insideB(b *testing.B) *sidekick {
	b.Helper()
	log := &lines{address: make(chan string, 1)}
	ctx, cancel := context.WithCancel(b.Context())
	exit := make(chan int, 1)
	go func() { exit <- run(ctx, nil, environment(b.TempDir()), io.Discard, log) }()
	return &sidekick{url: "http://" + <-log.address, log: log, stop: func() int { cancel(); return <-exit }}
}

// hammer posts body b.N times from several connections, each time as a batch of its own.
func hammer(b *testing.B, url, body string) {
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	work := make(chan struct{}, b.N)
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	var wg sync.WaitGroup
	var batch atomic.Int64
	for range connections {
		wg.Go(func() {
			for range work {
				if err := send(b, transport, url, body, fmt.Sprintf("7b1d3f0a-batch-%d", batch.Add(1))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func send(b *testing.B, transport *http.Transport, url, body, key string) error {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}
