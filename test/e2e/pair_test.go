package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that is sure to come.
const patience = time.Minute

// binary is a program that "make build" has made.
func binary(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run \"make build\" first", err)
	}
	return path
}

// need skips a test for want of a program, except in CI, where all are there.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// eventually waits until done says so, and fails with what it says otherwise.
func eventually(t *testing.T, done func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, state := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(state)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// chat is a Slack or Discord webhook: it keeps the messages, in order.
type chat struct {
	*httptest.Server
	mu       sync.Mutex
	messages []string
}

func newChat(t *testing.T, status int) *chat {
	t.Helper()
	c := &chat{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the sidekick was killed half-way
		}
		c.mu.Lock()
		c.messages = append(c.messages, string(body))
		c.mu.Unlock()
		w.WriteHeader(status)
		if status == http.StatusOK {
			_, _ = io.WriteString(w, "ok") // as Slack answers
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *chat) received() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.messages...)
}

// sidekick is a running sidekick.
type sidekick struct {
	t    *testing.T
	port string
	env  []string
	cmd  *exec.Cmd
	log  *os.File
}

func startSidekick(t *testing.T, env ...string) *sidekick {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "sidekick.log")
	if err != nil {
		t.Fatal(err)
	}
	s := &sidekick{t: t, port: freePort(t), log: log}
	s.env = append([]string{"PATH=" + os.Getenv("PATH"), "LISTENPORT=" + s.port, "QUEUE_DIR=" + t.TempDir()}, env...)
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("the sidekick's log:\n%s", b)
		}
		log.Close()
	})
	s.start()
	return s
}

func (s *sidekick) url() string { return "http://127.0.0.1:" + s.port + "/" }

func (s *sidekick) start() {
	s.t.Helper()
	s.cmd = exec.Command(binary(s.t, "sidekick"))
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env, s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, func() (bool, string) {
		resp, err := http.Get(s.url() + "readyz")
		if err != nil {
			return false, err.Error()
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK, resp.Status
	})
}

// stop has it end in good order: all that is waiting is delivered first.
func (s *sidekick) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the sidekick ended with %v", err)
	}
	s.cmd = nil
}

func (s *sidekick) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // SIGKILL; it may have ended
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

func runCommand(t *testing.T, env []string, argv ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), env...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", argv, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// traced runs a command under the tracer.
func traced(t *testing.T, url, policies string, argv ...string) result {
	t.Helper()
	args := append([]string{binary(t, "tracer"), "run", "--policies", policies, "--"}, argv...)
	return runCommand(t, []string{"SIDEKICK_URL=" + url, "CONTAINER_NAME=shop", "POD_NAME=shop-1", "NAMESPACE=prod", "CLUSTER_NAME=test"}, args...)
}

// shop compiles the sample workload and starts its server; it gives the command
// line of the workload.
func shop(t *testing.T) []string {
	t.Helper()
	client := filepath.Join(t.TempDir(), "client")
	if out, err := exec.Command(need(t, "cc"), "-O2", "-o", client, "../../examples/workload/client.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	need(t, "curl")
	server := exec.Command("/usr/bin/python3", "../../examples/workload/server.py")
	stdin, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = server.Wait() // ends with its standard input
	})
	var port int
	if _, err := fmt.Fscan(stdout, &port); err != nil {
		t.Fatalf("the workload's server: %v", err)
	}
	script, err := filepath.Abs("../../examples/workload/run.sh")
	if err != nil {
		t.Fatal(err)
	}
	return []string{script, client, fmt.Sprint(port)}
}

// contains says whether a text has all of the parts.
func contains(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}
