package learn

import (
	"bufio"
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
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

// patience bounds what is waited for: other tests may have the machine.
const patience = 3 * time.Minute

// service is a server that is learned.
type service struct {
	name     string
	commands []string // that must be there
	prepare  func(t *testing.T, r *running)
	argv     func(r *running) []string
	use      func(t *testing.T, r *running)               // what it is for, until it has ended
	asked    []string                                     // arguments that have it do what it is not for
	abuse    func(t *testing.T, r *running, c *collector) // what it is not for: each attempt fails
	denied   []string                                     // resources of the alerts of that; DIR is the directory above its own
}

// running is one run of a service.
type running struct {
	dir   string // to work in, the same in each run
	asked []string
	port  string
	cmd   *exec.Cmd
	out   bytes.Buffer // only to be read when cmd has ended
	done  chan error
}

func (r *running) url(path string) string { return "http://127.0.0.1:" + r.port + path }

// end tells the tracer to end, and waits until it has.
func (r *running) end(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	r.wait(t)
}

func (r *running) wait(t *testing.T) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(patience):
		t.Fatalf("%v does not end", r.cmd.Args)
	}
}

// get asks for a page and gives its status; 0 when nobody answers.
func get(t *testing.T, url string) int {
	t.Helper()
	client := http.Client{Timeout: time.Minute}
	response, err := client.Get(url)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0
	}
	return response.StatusCode
}

// await waits until something is so.
func (r *running) await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-r.done:
			t.Fatalf("%v has ended before %s: %v\n%s", r.cmd.Args, what, err, r.out.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("not %s", what)
		}
	}
}

func (r *running) answers(t *testing.T, path string) {
	t.Helper()
	r.await(t, "answering "+path, func() bool { return get(t, r.url(path)) == http.StatusOK })
}

func (r *running) post(t *testing.T, path string) {
	t.Helper()
	response, err := http.Post(r.url(path), "text/plain", strings.NewReader(strings.Repeat("x", 64<<10)))
	if err != nil {
		r.end(t)
		t.Fatalf("%v\n%s", err, r.out.String())
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", path, response.Status)
	}
}

// refused asks for what must not be done.
func (r *running) refused(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if status := get(t, r.url(path)); status == http.StatusOK || status == 0 {
			t.Errorf("%s: status %d", path, status)
		}
	}
}

// collector takes the events of a tracer.
type collector struct {
	*httptest.Server
	mu   sync.Mutex
	logs bytes.Buffer
	told []schema.Alert
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		lines := bufio.NewScanner(r.Body)
		lines.Buffer(nil, 2*schema.MaxEventBytes)
		for lines.Scan() {
			c.logs.Write(append(lines.Bytes(), '\n'))
			if e, err := schema.Decode(lines.Bytes()); err == nil && e.Kind == schema.KindAlert {
				c.told = append(c.told, *e.Alert)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// alerts gives what was told since it was asked last.
func (c *collector) alerts() []schema.Alert {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.told
	c.told = nil
	return all
}

// events gives all that was told so far.
func (c *collector) events() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.logs.Bytes())
}

// has says whether an alert is about a resource.
func (c *collector) has(resource string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.told, func(a schema.Alert) bool { return strings.HasPrefix(a.Resource, resource) })
}

func skip(t *testing.T, why any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// stage is where a service runs.
type stage struct {
	*service
	dir, tracer string
}

func newStage(t *testing.T, s *service) *stage {
	t.Helper()
	for _, command := range s.commands {
		if _, err := exec.LookPath(command); err != nil {
			skip(t, err)
		}
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	body, err := os.ReadFile("../../bin/tracer")
	if err != nil {
		t.Fatalf("%v: run \"make build\" first", err)
	}
	st := &stage{service: s, dir: dir, tracer: filepath.Join(dir, "tracer")}
	if err := os.WriteFile(st.tracer, body, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"web.py", "web.js", "postgres.sh"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return st
}

// start starts the service under the tracer with args, in a directory that is made anew.
func (s *stage) start(t *testing.T, c *collector, asked []string, args ...string) *running {
	t.Helper()
	r := &running{dir: filepath.Join(s.dir, "work"), port: freePort(t), asked: asked, done: make(chan error, 1)}
	if err := os.RemoveAll(r.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(r.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	s.prepare(t, r)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	r.cmd = exec.CommandContext(ctx, s.tracer, append(append(args, "--"), s.argv(r)...)...)
	r.cmd.Dir, r.cmd.Env = r.dir, append(os.Environ(), "SIDEKICK_URL="+c.URL, "TRACER_VISIBILITY=all")
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.done <- r.cmd.Wait(); close(r.done) }()
	return r
}

func freePort(t *testing.T) string {
	t.Helper()
	// Below the ports that the kernel gives to clients, which nobody has just been given.
	for port := 20000 + os.Getpid()%8000; port < 32000; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
			return fmt.Sprint(port)
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
	t.Fatal("no free port")
	return ""
}

func TestServers(t *testing.T) {
	for i := range services {
		s := &services[i]
		t.Run(s.name, func(t *testing.T) {
			st, c := newStage(t, s), newCollector(t)
			policy := filepath.Join(st.dir, "learned.yaml")
			r := st.start(t, c, nil, "learn", "--output", policy)
			s.use(t, r)
			text, err := os.ReadFile(policy)
			if err != nil {
				t.Fatalf("%v\n%s", err, r.out.String())
			}
			if told := c.alerts(); len(told) > 0 {
				t.Errorf("while learning: %+v", told)
			}
			check(t, st, policy)

			r = st.start(t, c, nil, "run", "--policies", policy)
			s.use(t, r)
			for _, a := range c.alerts() {
				t.Errorf("%s: %s %s %s, by %s", a.PolicyName, a.Action, a.Operation, a.Resource, a.ProcessName)
			}
			events := c.events()

			r = st.start(t, c, s.asked, "run", "--policies", policy)
			s.abuse(t, r, c)
			told := c.alerts()
			for _, want := range s.denied {
				want = strings.Replace(want, "DIR", st.dir, 1)
				if !slices.ContainsFunc(told, func(a schema.Alert) bool { return a.Action == "Block" && strings.HasPrefix(a.Resource, want) }) {
					t.Errorf("no alert of %s in %+v", want, told)
				}
			}
			fromEvents(t, st, events, c)
			if t.Failed() {
				t.Logf("%s", text)
			}
		})
	}
}

// check has the policy said in words, strictly: nothing of it may do less than it says.
func check(t *testing.T, st *stage, policy string) {
	t.Helper()
	if out, err := exec.Command(st.tracer, "policy", "check", "--strict", policy).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// fromEvents runs the service under the policy that is learned from its events.
func fromEvents(t *testing.T, st *stage, events []byte, c *collector) {
	t.Helper()
	cmd := exec.Command(st.tracer, "learn", "--from", "-", "--name", "events")
	cmd.Stdin = bytes.NewReader(events)
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	policy := filepath.Join(st.dir, "events.yaml")
	if err := os.WriteFile(policy, text, 0o644); err != nil {
		t.Fatal(err)
	}
	check(t, st, policy)
	c.alerts()
	st.use(t, st.start(t, c, nil, "run", "--policies", policy))
	for _, a := range c.alerts() {
		t.Errorf("learned of events: %s: %s %s %s, by %s", a.PolicyName, a.Action, a.Operation, a.Resource, a.ProcessName)
	}
	if t.Failed() {
		t.Logf("%s", text)
	}
}
