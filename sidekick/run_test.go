package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// update says whether to write the golden files: outputtest has the flag.
func update() bool { return flag.Lookup("update").Value.String() == "true" }

// asChild, set in the environment, makes the test binary a sidekick.
const asChild = "SIDEARMOR_SIDEKICK_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		hideMemory()
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// sidekick is one that runs, in this process or in one of its own.
type sidekick struct {
	url  string
	stop func() int // asks it to stop and gives its exit status
	kill func()
	quit func() // ends a process with the stacks of its goroutines in the log
	hup  func() // sends a process SIGHUP
	log  *lines
}

// lines collects what is logged and gives the address once it is there.
type lines struct {
	mu      sync.Mutex
	text    bytes.Buffer
	address chan string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	if m := regexp.MustCompile(`"msg":"listening","address":"([^"]+)"`).FindSubmatch(b); m != nil {
		l.address <- string(m[1])
	}
	return len(b), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func environment(dir string, more ...string) []string {
	return append([]string{"LISTENPORT=0", "QUEUE_DIR=" + dir, "SHUTDOWN_TIMEOUT=2s"}, more...)
}

// inside starts a sidekick in this process.
func inside(t *testing.T, env []string, args ...string) *sidekick {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	log := &lines{address: make(chan string, 1)}
	exit := make(chan int, 1)
	go func() { exit <- run(ctx, args, env, io.Discard, log) }()
	s := &sidekick{log: log, stop: sync.OnceValue(func() int { cancel(); return <-exit })}
	t.Cleanup(func() { s.stop() })
	select {
	case address := <-log.address:
		s.url = "http://" + address
	case status := <-exit:
		exit <- status
		t.Fatalf("ended with %d:\n%s", status, log)
	}
	return s
}

// process starts a sidekick of its own process.
func process(t *testing.T, env []string) *sidekick {
	t.Helper()
	return processTo(t, env, nil)
}

// processTo starts one whose standard output is there; nil for nowhere.
func processTo(t *testing.T, env []string, stdout *os.File) *sidekick {
	t.Helper()
	log := &lines{address: make(chan string, 1)}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(env, asChild+"=1", "PATH="+os.Getenv("PATH"))
	cmd.Stderr = log
	if stdout != nil {
		cmd.Stdout = stdout
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	wait := sync.OnceValue(func() int { _ = cmd.Wait(); return cmd.ProcessState.ExitCode() })
	s := &sidekick{
		log:  log,
		kill: func() { _ = cmd.Process.Kill(); wait() },
		quit: func() { _ = cmd.Process.Signal(syscall.SIGQUIT); wait() },
		hup:  func() { _ = cmd.Process.Signal(syscall.SIGHUP) },
		stop: func() int { _ = cmd.Process.Signal(syscall.SIGTERM); return wait() },
	}
	t.Cleanup(s.kill)
	select {
	case address := <-log.address:
		s.url = "http://" + address
	case <-time.After(30 * time.Second):
		t.Fatalf("does not listen:\n%s", log)
	}
	return s
}

// receiver is a webhook's other end.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []string // resource of each event that was taken
	answer func(n int) int
	calls  int
	wake   chan struct{}
}

func receive(t *testing.T, answer func(n int) int) *receiver {
	t.Helper()
	r := &receiver{answer: answer, wake: make(chan struct{}, 1)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var e struct{ Resource string }
		if err := json.NewDecoder(req.Body).Decode(&e); err != nil {
			t.Errorf("receiver: %v", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		status := http.StatusOK
		if r.answer != nil {
			status = r.answer(r.calls)
		}
		r.calls++
		if status == http.StatusOK {
			r.got = append(r.got, e.Resource)
		}
		w.WriteHeader(status)
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// wait returns when n events were taken, or fails.
func (r *receiver) wait(t *testing.T, n int) []string {
	t.Helper()
	limit := time.After(60 * time.Second)
	for {
		if got := r.taken(); len(got) >= n {
			return got
		}
		select {
		case <-r.wake:
		case <-limit:
			t.Fatalf("%d of %d events came: %v", len(r.taken()), n, r.taken())
		}
	}
}

func event(kind string, i int) string {
	if kind == "log" {
		return fmt.Sprintf(`{"Type":"ContainerLog","Operation":"File","Resource":"%d"}`, i)
	}
	return fmt.Sprintf(`{"Type":"MatchedPolicy","PolicyName":"p","Operation":"File","Action":"Block","Resource":"%d"}`, i)
}

func batch(kind string, from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		b.WriteString(event(kind, i) + "\n")
	}
	return b.String()
}

// post sends body under key; 0 is no answer at all.
func post(t *testing.T, url, body, key string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func numbers(from, to int) []string {
	var want []string
	for i := from; i < to; i++ {
		want = append(want, fmt.Sprint(i))
	}
	return want
}

func TestOutageLosesNothing(t *testing.T) {
	r := receive(t, func(n int) int {
		if n < 4 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	s := inside(t, environment(t.TempDir(), "WEBHOOK_ADDRESS="+r.URL))
	for i := range 30 {
		if status := post(t, s.url, event("alert", i), ""); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
	}
	r.wait(t, 30)
	if status := s.stop(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, s.log)
	}
	if got := r.taken(); !slices.Equal(got, numbers(0, 30)) {
		t.Errorf("got %v", got)
	}
}

func TestHangingReceiverHoldsUpNobody(t *testing.T) {
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hanging.Close()
	r := receive(t, nil)
	s := inside(t, environment(t.TempDir(), "WEBHOOK_ADDRESS="+r.URL, "SLACK_WEBHOOKURL="+hanging.URL))
	post(t, s.url, batch("alert", 0, 20), "")
	if got := r.wait(t, 20); !slices.Equal(got, numbers(0, 20)) {
		t.Errorf("got %v", got)
	}
	close(release)
	if status := s.stop(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestRestartContinues(t *testing.T) {
	down := true
	r := receive(t, func(n int) int {
		if down && n >= 5 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	env := environment(t.TempDir(), "WEBHOOK_ADDRESS="+r.URL)
	s := inside(t, env)
	post(t, s.url, batch("log", 0, 12), "")
	r.wait(t, 5)
	if status := s.stop(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	r.mu.Lock()
	down = false
	r.mu.Unlock()
	inside(t, env)
	if got := r.wait(t, 12); !slices.Equal(got, numbers(0, 12)) {
		t.Errorf("got %v", got)
	}
}

// A sender that repeats what was not answered, and a sidekick that is killed over
// and over: everything arrives, in order, and at most what was under way at a kill
// arrives twice.
func TestKilledInTheMiddle(t *testing.T) {
	const batches, size, kills = 40, 5, 4
	r := receive(t, nil)
	env := environment(t.TempDir(), "WEBHOOK_ADDRESS="+r.URL)
	s := process(t, env)
	killed := 0
	for b := range batches {
		if b%(batches/kills) == batches/kills/2 {
			go s.kill() // somewhere within the next post, or after it
		}
		key := fmt.Sprint("batch-", b)
		for post(t, s.url, batch("alert", b*size, (b+1)*size), key) != http.StatusOK {
			s.kill()
			killed++
			s = process(t, env)
		}
	}
	r.wait(t, batches*size)
	got := r.taken()
	for len(got) == 0 || got[len(got)-1] != fmt.Sprint(batches*size-1) {
		r.wait(t, len(got)+1)
		got = r.taken()
	}
	if killed == 0 {
		t.Error("it was never killed")
	}
	if status := s.stop(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, s.log)
	}
	if once := slices.Compact(slices.Clone(got)); !slices.Equal(once, numbers(0, batches*size)) {
		t.Errorf("missing or out of order: %v", got)
	}
	if twice := len(got) - batches*size; twice > killed {
		t.Errorf("%d events came twice after %d kills", twice, killed)
	}
}

func TestTestEventReachesOutput(t *testing.T) {
	got := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		got <- string(body)
	}))
	defer server.Close()
	s := inside(t, environment(t.TempDir(), "WEBHOOK_ADDRESS="+server.URL, "WEBHOOK_MINIMUMPRIORITY=emergency", "CUSTOMFIELDS=env:prod"))
	post(t, s.url+"/test", "", "")
	if body := <-got; !strings.Contains(body, `"rule":"Test rule"`) || !strings.Contains(body, `"env":"prod"`) {
		t.Errorf("got %s", body)
	}
}

// takenPort gives a port that somebody listens on.
func takenPort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestRefusesToStart(t *testing.T) {
	port := takenPort(t)
	dir := t.TempDir()
	inside(t, environment(dir))
	for _, c := range []struct {
		name string
		env  []string
		want string
	}{
		{"second on the directory", environment(dir), dir + " is in use by another sidekick"},
		{"directory cannot be written", environment("/proc/self/x"), "/proc/self/x"},
		{"port is taken", environment(t.TempDir(), "LISTENPORT="+port), "LISTENPORT: listen tcp 127.0.0.1:" + port},
	} {
		var log bytes.Buffer
		if status := run(t.Context(), nil, c.env, io.Discard, &log); status != 1 || !strings.Contains(log.String(), c.want) {
			t.Errorf("%s: exit status %d:\n%s", c.name, status, &log)
		}
	}
}

func TestBadConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	var all bytes.Buffer
	for _, c := range []struct {
		name, file string
		env        []string
	}{
		{"priority", "", []string{"SLACK_WEBHOOKURL=https://hooks.slack.com/services/CANARY", "SLACK_MINIMUMPRIORITY=warn"}},
		{"url", "", []string{"DISCORD_WEBHOOKURL=discord.com/CANARY", "WEBHOOK_ADDRESS=ftp://CANARY"}},
		{"group", "", []string{"AWS_CLOUDWATCHLOGS_LOGGROUP=a group", "AWS_REGION=eu-west-1"}},
		{"misspelt", "", []string{"SLACK_WEBHOKURL=CANARY", "DISCORD_MINIMUMPRIORTY=error", "QUEUE_DRI=x", "AWS_CLOUDWATCHLOGS_GROUP=g"}},
		{"address and port", "", []string{"LISTENADDRESS=example.com", "LISTENPORT=70000"}},
		{"secret file", "", []string{"SLACK_WEBHOOKURL_FILE=/nowhere/url"}},
		{"custom fields", "", []string{"CUSTOMFIELDS=a,b:%UNSET"}},
		{"file", "slack:\n  webhookurl: https://hooks.slack.com/services/CANARY\n  outputformat: field\n  chanel: x\nlistenport: no\n", nil},
		{"everything", "slak: {}\n", []string{"LOG_LEVEL=maybe", "STDOUT_ENABLED=true", "STDOUT_FORMAT=xml"}},
	} {
		var args []string
		if c.file != "" {
			if err := os.WriteFile("conf.yaml", []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			args = []string{"-c", "conf.yaml"}
		}
		var log bytes.Buffer
		if status := run(t.Context(), args, c.env, io.Discard, &log); status != 1 {
			t.Errorf("%s: exit status %d", c.name, status)
		}
		fmt.Fprintf(&all, "# %s\n%s", c.name, regexp.MustCompile(`"time":"[^"]*",`).ReplaceAll(log.Bytes(), nil))
	}
	if bytes.Contains(all.Bytes(), []byte("CANARY")) {
		t.Errorf("a secret is shown:\n%s", &all)
	}
	golden(t, "bad-configuration.golden", all.Bytes())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join(packageDir, "testdata", name)
	if update() {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("differs from %s (-update writes it):\n%s", name, got)
	}
}

// packageDir is where the tests start, before any of them changes directory.
var packageDir, _ = os.Getwd()

func TestCommands(t *testing.T) {
	s := inside(t, environment(t.TempDir()))
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
	for _, c := range []struct {
		args   string
		env    []string
		status int
		want   string
	}{
		{"healthcheck", []string{"LISTENPORT=" + port}, 0, ""},
		{"healthcheck", []string{"LISTENPORT=" + port, "LISTENADDRESS=0.0.0.0", "LISTEN_INSECURE=true"}, 0, ""},
		{"healthcheck", []string{"LISTENPORT=1"}, 1, "check health"},
		{"healthcheck", []string{"LISTENPORT=x"}, 1, "LISTENPORT"},
		{"version", nil, 0, version},
		{"-v", nil, 0, version},
		{"--help", nil, 0, "--config-file"},
		{"frobnicate", nil, 2, `unknown command ["frobnicate"]`},
		{"--frobnicate", nil, 2, "unknown flag: --frobnicate"},
	} {
		var out bytes.Buffer
		if status := run(t.Context(), strings.Fields(c.args), c.env, &out, &out); status != c.status || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s %v: exit status %d, %s", c.args, c.env, status, &out)
		}
	}
}

func TestServesLoopbackByDefault(t *testing.T) {
	s := inside(t, environment(t.TempDir(), "SLACK_USERNAME=x"))
	for _, want := range []string{"LISTENADDRESS is not set", `"address":"127.0.0.1:`, "no output is configured", "SLACK_USERNAME has no effect"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("%s is not in the log:\n%s", want, s.log)
		}
	}
}
