package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// sidekick is the process that is tried, in one life after the other.
type sidekick struct {
	options   options
	receivers []*receiver
	url       string

	mu      sync.Mutex
	cmd     *exec.Cmd // nil while there is none
	killed  int
	starts  []time.Duration // from start to ready
	began   time.Time       // of the first
	samples []sample
}

// sample is the resident memory at one time.
type sample struct {
	at    time.Duration // since the first start
	bytes int64
}

// start starts it and waits until it answers.
func (s *sidekick) start(ctx context.Context) error {
	if s.url == "" {
		address, err := freeAddress(ctx)
		if err != nil {
			return err
		}
		s.url, s.began = "http://"+address, time.Now()
	}
	log, err := os.OpenFile(filepath.Join(s.options.dir, "sidekick.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(s.options.bin, "sidekick")) //nolint:noctx // it outlives ctx, which ends by a kill
	cmd.Env = append(s.settings(), "PATH="+os.Getenv("PATH"))
	cmd.Stderr = log
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start sidekick: %w", err)
	}
	s.mu.Lock()
	s.cmd = cmd
	s.mu.Unlock()
	for !s.ready(ctx) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Since(begin) > startTimeout {
			return fmt.Errorf("the sidekick is not ready after %s, see %s", startTimeout, log.Name())
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.mu.Lock()
	s.starts = append(s.starts, time.Since(begin))
	s.mu.Unlock()
	return nil
}

func (s *sidekick) settings() []string {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
	env := []string{"LISTENPORT=" + port, "QUEUE_DIR=" + filepath.Join(s.options.dir, "queue")}
	for _, r := range s.receivers {
		env = append(env, r.settings()...)
	}
	return env
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *sidekick) ready(ctx context.Context) bool {
	_, err := s.get(ctx, "/readyz")
	return err == nil
}

func (s *sidekick) get(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

// kill ends it as an out-of-memory kill would, and waits until what it sent has
// been read by the receivers: what comes after that is of the next life.
func (s *sidekick) kill() {
	s.mu.Lock()
	cmd := s.cmd
	s.cmd = nil
	s.killed++
	s.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // its status is that of the kill
	for _, r := range s.receivers {
		r.settle()
		r.ledger.nextLife()
	}
}

// stop asks it to end and gives its exit status.
func (s *sidekick) stop() int {
	s.mu.Lock()
	cmd := s.cmd
	s.cmd = nil
	s.mu.Unlock()
	if cmd == nil {
		return -1
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

func (s *sidekick) kills() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.killed
}

// watch samples memory until ctx ends.
func (s *sidekick) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
			s.sample()
		}
	}
}

func (s *sidekick) sample() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	if bytes := resident(s.cmd.Process.Pid); bytes > 0 {
		s.samples = append(s.samples, sample{at: time.Since(s.began), bytes: bytes})
	}
}

// resident is the memory of a process, 0 where it cannot be known.
func resident(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	if fields := strings.Fields(string(text)); len(fields) > 1 {
		pages, _ := strconv.ParseInt(fields[1], 10, 64) // 0 is right when it is no number
		return pages * int64(os.Getpagesize())
	}
	return 0
}
