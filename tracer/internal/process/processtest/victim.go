// Package processtest runs copies of the test binary that do what a test tells them, so that a test can look at a
// real process. It holds no assertions.
package processtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
)

// Environment variables that turn a test binary into something else, see Main.
const (
	victimEnv = "SIDEARMOR_TEST_VICTIM"
	dropEnv   = "SIDEARMOR_TEST_DROP"
)

// Command is one order to a victim.
type Command struct {
	Op      string
	Thread  int // 0 is the first; others are made when first named
	Dir     int
	Path    string
	Flags   uint64
	Resolve uint64
	UID     int
	Data    []byte
	Args    []string
}

// Reply is what came of a Command.
type Reply struct {
	Errno    syscall.Errno
	FD       int
	PID, TID int
	Dev, Ino uint64
	Addr     uint64
}

// Victim is a process under a test's command. Between commands all of its threads wait.
type Victim struct {
	PID int
	tb  testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Main must be called first by TestMain. It does not return in a process that is meant to be a victim, and it makes
// the test process that DropPtrace started what it should be.
func Main() {
	if os.Getenv(victimEnv) != "" {
		if err := serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "victim:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	dropCapabilities()
}

// Start starts a victim, which ends with the test.
func Start(tb testing.TB, options ...func(*exec.Cmd)) *Victim {
	tb.Helper()
	cmd := exec.Command("/proc/self/exe", "victim", "of a test")
	cmd.Env = append(os.Environ(), victimEnv+"=1")
	cmd.Stderr = os.Stderr
	for _, option := range options {
		option(cmd)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	v := &Victim{PID: cmd.Process.Pid, tb: tb, cmd: cmd, in: in, out: bufio.NewReader(out)}
	tb.Cleanup(v.Stop)
	v.answer() // it serves
	return v
}

// Stop ends the victim and waits for its end.
func (v *Victim) Stop() {
	v.in.Close()
	v.cmd.Process.Kill()
	v.cmd.Wait()
}

// Try carries out a command, which may fail in the kernel.
func (v *Victim) Try(c Command) Reply {
	v.tb.Helper()
	c.Path = url.PathEscape(c.Path) // JSON would repair what is not UTF-8
	b, err := json.Marshal(c)
	if err != nil {
		v.tb.Fatal(err)
	}
	if _, err := v.in.Write(append(b, '\n')); err != nil {
		v.tb.Fatalf("%s: the victim does not listen: %v", c.Op, err)
	}
	return v.answer()
}

func (v *Victim) answer() Reply {
	v.tb.Helper()
	line, err := v.out.ReadBytes('\n')
	if err != nil {
		v.tb.Fatalf("the victim does not answer: %v", err)
	}
	var r Reply
	if err := json.Unmarshal(line, &r); err != nil {
		v.tb.Fatal(err)
	}
	return r
}

// Do carries out a command that must succeed.
func (v *Victim) Do(c Command) Reply {
	v.tb.Helper()
	r := v.Try(c)
	if r.Errno != 0 {
		v.tb.Fatalf("victim: %+v: %v", c, r.Errno)
	}
	return r
}

// Exec carries out an exec that must succeed; the new image serves as well.
func (v *Victim) Exec(c Command) {
	v.tb.Helper()
	c.Op = "exec"
	v.Do(c) // answered by the new image
}

// RunWithout runs the tests of this binary that match pattern once more, in a process that is root without the
// given capabilities.
func RunWithout(t *testing.T, pattern string, capabilities ...int) {
	t.Helper()
	env := dropEnv + "=drop"
	for _, c := range capabilities {
		env += " " + strconv.Itoa(c)
	}
	run(t, pattern, env, nil)
}

// RunAsUser runs the tests of this binary that match pattern once more, as an ordinary user.
func RunAsUser(t *testing.T, pattern string, uid uint32) {
	t.Helper()
	attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: []uint32{uid}}}
	run(t, pattern, dropEnv+"=dropped", attr)
}

// RunWithMounts runs the tests of this binary that match pattern once more, in a mount namespace of their own.
func RunWithMounts(t *testing.T, pattern string) {
	t.Helper()
	run(t, pattern, dropEnv+"=mounts", &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS})
}

// MayMount reports whether this process was started by RunWithMounts.
func MayMount() bool { return os.Getenv(dropEnv) == "mounts" }

// NeedsRoot skips a test whose victim must be root. Only a run inside of another may be without it in CI.
func NeedsRoot(tb testing.TB) {
	tb.Helper()
	switch {
	case os.Getuid() == 0:
	case os.Getenv("CI") == "true" && os.Getenv(dropEnv) == "":
		tb.Fatal("CI runs as root")
	default:
		tb.Skip("needs root: the victim changes its user id or its root directory")
	}
}

func run(t *testing.T, pattern, env string, attr *syscall.SysProcAttr) {
	t.Helper()
	if os.Getenv(dropEnv) != "" {
		t.Skip("this is a run inside of another")
	}
	NeedsRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.run="+pattern, "-test.v="+strconv.FormatBool(testing.Verbose()))
	cmd.Env = append(os.Environ(), env)
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	} else if testing.Verbose() {
		t.Logf("%s", out)
	}
}
