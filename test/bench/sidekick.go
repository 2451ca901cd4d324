package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sidekick is a running sidekick without outputs: it stores what it takes.
type sidekick struct {
	url    string
	cmd    *exec.Cmd
	client *http.Client
}

func startSidekick(ctx context.Context, bin, dir string) (*sidekick, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	s := &sidekick{
		url: "http://" + address + "/", client: &http.Client{Timeout: 10 * time.Second},
		cmd: exec.Command(filepath.Join(bin, "sidekick")), //nolint:noctx // it ends with stop, after all else
	}
	s.cmd.Env = append(os.Environ(), "LISTENPORT="+port, "QUEUE_DIR="+filepath.Join(dir, "queue"))
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if err := reachable(ctx, "tcp", address); err != nil {
		s.stop()
		return nil, fmt.Errorf("the sidekick does not start: %w", err)
	}
	return s, nil
}

func (s *sidekick) stop() {
	_ = s.cmd.Process.Kill() // nothing of it is kept
	_ = s.cmd.Wait()
}

// settle waits until the sidekick has nothing more to do with what it was given.
func (s *sidekick) settle() { settle(s.cmd.Process.Pid) }

// settle waits until processes are idle.
func settle(pids ...int) {
	const window, least = 50 * time.Millisecond, 2
	quiet, before := 0, ticks(pids)
	for range 600 {
		time.Sleep(window)
		now := ticks(pids)
		if quiet++; now > before {
			quiet = 0
		}
		if before = now; quiet >= least {
			return
		}
	}
}

// ticks is the time that processes have computed for, in hundredths of a second.
func ticks(pids []int) (sum int) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		const utime, stime = 11, 12 // after the name (proc_pid_stat(5))
		for _, i := range []int{utime, stime} {
			if i < len(f) {
				n, _ := strconv.Atoi(f[i])
				sum += n
			}
		}
	}
	return sum
}

// taken is the number of events that the sidekick has taken so far.
func (s *sidekick) taken(ctx context.Context) (sum float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "} ")
		if strings.HasPrefix(name, "falcosecurity_falcosidekick_inputs_total{") && strings.Contains(name, `status="accepted"`) {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return sum, lines.Err()
}

// freeAddress is an address of this machine that nothing listens at.
func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// reachable waits until something listens at an address.
func reachable(ctx context.Context, network, address string) error {
	var d net.Dialer
	for range 500 {
		if conn, err := d.DialContext(ctx, network, address); err == nil {
			return conn.Close()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("nothing listens at " + address)
}
