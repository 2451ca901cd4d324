package containers

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// require ends the test unless it can run here; in CI it can, so there it fails.
func require(t *testing.T, ok bool, need string) {
	t.Helper()
	if ok {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs " + need)
	}
	t.Skip("needs " + need)
}

// programs are the static files that the containers are made of.
type programs struct{ tracer, sidekick, receiver, busybox string }

// buildDir is where build puts them, away from bin/, which other tests may be using.
var buildDir string

// build makes the programs once.
var build = sync.OnceValues(func() (*programs, error) {
	p := &programs{
		tracer:   filepath.Join(buildDir, "tracer"),
		sidekick: filepath.Join(buildDir, "sidekick"),
		receiver: filepath.Join(buildDir, "receiver"),
		busybox:  "/bin/busybox",
	}
	for _, c := range []*exec.Cmd{
		exec.Command("make", "--no-print-directory", "-C", "../..", "build", "BIN="+buildDir),
		exec.Command("go", "build", "-buildvcs=false", "-o", p.receiver, "./testdata/receiver"),
	} {
		// A make around this test has its own idea of flags and jobs.
		c.Env = append(os.Environ(), "MAKEFLAGS=", "MFLAGS=", "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, out)
		}
	}
	return p, nil
})

func TestMain(m *testing.M) {
	var err error
	if buildDir, err = os.MkdirTemp("", "sidearmor-containers-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(buildDir)
	os.Exit(code)
}

// task is a group of containers that share a network namespace, as on Fargate.
type task struct {
	t        *testing.T
	programs *programs
	dir      string
	id       string // as ECS gives it
	netns    string // of the first container that was started
}

func newTask(t *testing.T) *task {
	t.Helper()
	require(t, os.Getuid() == 0, "root")
	for _, tool := range []string{"runc", "busybox", "make", "gcc"} {
		_, err := exec.LookPath(tool)
		require(t, err == nil, tool)
	}
	p, err := build()
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	k := &task{t: t, programs: p, dir: t.TempDir(), id: hex.EncodeToString(id)}
	// Containers reach into it as users that are not root. TempDir made both.
	for _, made := range []string{k.dir, filepath.Dir(k.dir)} {
		if err := os.Chmod(made, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	k.write("hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n")
	t.Cleanup(k.removeCgroups)
	return k
}

// path makes the directory name below the task's own and gives its path.
func (k *task) path(name string) string {
	k.t.Helper()
	dir := filepath.Join(k.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		k.t.Fatal(err)
	}
	return dir
}

func (k *task) write(name, content string) string {
	k.t.Helper()
	path := filepath.Join(k.path(filepath.Dir(name)), filepath.Base(name))
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		k.t.Fatal(err)
	}
	return path
}

// copy puts a program into a root file system.
func (k *task) copy(from, to string) {
	k.t.Helper()
	body, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(filepath.Join(k.path(filepath.Dir(to)), filepath.Base(to)), body, 0o755)
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

// command prepares `runc run` of c and sees to it that c is gone after the test.
func (k *task) command(c *container, flags ...string) *exec.Cmd {
	k.t.Helper()
	c.netns = k.netns
	c.binds = append(c.binds, bind{filepath.Join(k.dir, "hosts"), "/etc/hosts", "ro"})
	bundle := k.path("bundle-" + c.name)
	c.writeBundle(k.t, bundle, k.cgroup(c.name))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	k.t.Cleanup(func() {
		cancel()
		// Fails when the container is gone already, as it should be.
		_ = k.runc(context.Background(), "delete", "-f", k.name(c)).Run()
	})
	return k.runc(ctx, append(append([]string{"run", "-b", bundle}, flags...), k.name(c))...)
}

func (k *task) runc(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "runc", append([]string{"--root", k.path("runc")}, args...)...)
}

func (k *task) name(c *container) string { return k.id[:12] + "-" + c.name }

// cgroup is how /proc/self/cgroup names a container on ECS Fargate.
func (k *task) cgroup(container string) string {
	return fmt.Sprintf("/ecs/%s/%s-%010d", k.id, k.id, crc32.ChecksumIEEE([]byte(container)))
}

// run runs c to its end.
func (k *task) run(c *container) (stdout, stderr string, status int) {
	k.t.Helper()
	cmd := k.command(c)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	// With the workload's last process gone its pipes may still be held open.
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		k.t.Fatalf("%s: %v\n%s", c.name, err, errs.String())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// start starts c in the background. The first one brings the network namespace.
func (k *task) start(c *container) {
	k.t.Helper()
	logs, err := os.Create(filepath.Join(k.dir, c.name+".log"))
	if err != nil {
		k.t.Fatal(err)
	}
	defer logs.Close()
	k.t.Cleanup(func() {
		if k.t.Failed() {
			body, _ := os.ReadFile(logs.Name())
			k.t.Logf("log of %s:\n%s", c.name, body)
		}
	})
	cmd := k.command(c, "-d")
	// Files, not pipes: the container keeps them when runc has ended.
	cmd.Stdout, cmd.Stderr = logs, logs
	if err := cmd.Run(); err != nil {
		k.t.Fatalf("start %s: %v", c.name, err)
	}
	if k.netns == "" {
		k.netns = fmt.Sprintf("/proc/%d/ns/net", k.state(c).Pid)
	}
}

type state struct {
	Pid    int
	Status string
}

func (k *task) state(c *container) (s state) {
	k.t.Helper()
	out, err := k.runc(context.Background(), "state", k.name(c)).Output()
	if err == nil {
		err = json.Unmarshal(out, &s)
	}
	if err != nil {
		k.t.Fatalf("state of %s: %v", c.name, err)
	}
	return s
}

// stop asks c to end, as ECS does, and waits until it has.
func (k *task) stop(c *container) {
	k.t.Helper()
	if err := k.runc(context.Background(), "kill", k.name(c), "TERM").Run(); err != nil {
		k.t.Fatalf("stop %s: %v", c.name, err)
	}
	k.eventually(c.name+" has stopped", func() bool { return k.state(c).Status == "stopped" })
}

// eventually waits, within a bound that nothing but a failure reaches.
func (k *task) eventually(what string, done func() bool) {
	k.t.Helper()
	for range 600 {
		if done() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	k.t.Fatalf("waited in vain until %s", what)
}

// posted is one request that the receiver got.
type posted struct{ Path, Body string }

// received is what the receiver has written down so far. It writes while this
// reads, so a last line without its end is one that is not there yet.
func (k *task) received() []posted {
	k.t.Helper()
	written, err := os.ReadFile(filepath.Join(k.dir, "out", "received"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		k.t.Fatal(err)
	}
	var all []posted
	for line := range bytes.Lines(written) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		var p posted
		if err := json.Unmarshal(line, &p); err != nil {
			k.t.Fatalf("received %q: %v", line, err)
		}
		all = append(all, p)
	}
	return all
}

// removeCgroups removes what runc leaves: the parents of the containers' own.
func (k *task) removeCgroups() {
	dirs, _ := filepath.Glob("/sys/fs/cgroup/*/ecs/" + k.id)
	for _, dir := range append(dirs, "/sys/fs/cgroup/ecs/"+k.id) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			k.t.Errorf("cgroup: %v", err)
		}
		_ = os.Remove(filepath.Dir(dir)) // not empty while another task runs
	}
}
