package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BenchmarkResident tells the resident memory of the sidekick as it is built for
// use: idle, with 100,000 events waiting for a receiver that is down, the same with
// an output that digests them, and after a million events in batches that were
// delivered nowhere.
func BenchmarkResident(b *testing.B) {
	program := build(b)
	down := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })}
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = down.Serve(l) }()
	b.Cleanup(func() { _ = down.Close() })
	body := strings.Repeat(sample+"\n", 1000)
	for b.Loop() {
		waiting := program1(b, program, b.TempDir(), "WEBHOOK_ADDRESS=http://"+l.Addr().String())
		b.ReportMetric(waiting.resident(b), "idle-MB")
		waiting.fill(b, body, 100)
		b.ReportMetric(waiting.resident(b), "waiting-MB")
		waiting.end()
		digesting := program1(b, program, b.TempDir(), "SLACK_WEBHOOKURL=http://"+l.Addr().String())
		digesting.fill(b, body, 100)
		b.ReportMetric(digesting.resident(b), "digesting-MB")
		digesting.end()
		busy := program1(b, program, b.TempDir())
		busy.fill(b, body, 1100)
		b.ReportMetric(busy.resident(b), "million-MB")
		b.ReportMetric(busy.peak(b), "peak-MB")
		busy.end()
	}
}

// build builds the sidekick as it is built for use.
func build(b *testing.B) (program string) {
	b.Helper()
	program = filepath.Join(b.TempDir(), "sidekick")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return program
}

// built is a running sidekick that was built for use.
type built struct {
	url string
	cmd *exec.Cmd
}

func program1(b *testing.B, program, dir string, more ...string) *built {
	b.Helper()
	log := &lines{address: make(chan string, 1)}
	cmd := exec.CommandContext(b.Context(), program)
	cmd.Env, cmd.Stderr = append(environment(dir, more...), "PATH="+os.Getenv("PATH")), log
	for _, name := range []string{"GOGC", "GOMEMLIMIT", "GODEBUG"} {
		if v := os.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	p := &built{cmd: cmd, url: "http://" + <-log.address}
	b.Cleanup(p.end)
	return p
}

func (p *built) end() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// fill posts body, each time under another key.
func (p *built) fill(b *testing.B, body string, times int) {
	b.Helper()
	for i := range times {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, p.url, strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		req.Header.Set("Idempotency-Key", fmt.Sprintf("0192f0c1-1111-7000-8000-%012d", i))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Fatalf("status %s after %d", resp.Status, i)
		}
		if i%10 == 0 { // trimming keeps up with it once a second
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// resident and peak are in MB.
func (p *built) resident(b *testing.B) float64 { return p.status(b, "VmRSS") }
func (p *built) peak(b *testing.B) float64     { return p.status(b, "VmHWM") }

func (p *built) status(b *testing.B, field string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	var kb float64
	_, rest, _ := strings.Cut(string(text), field+":")
	if _, err := fmt.Sscanf(rest, "%f", &kb); err != nil {
		b.Fatal(err)
	}
	return kb * 1024 / 1e6
}
