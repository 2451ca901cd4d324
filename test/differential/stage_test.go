package differential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// identity is as whom, and with what rights, a program runs.
type identity struct {
	name   string
	root   bool     // to become it takes root
	prefix []string // the command that becomes it
	uid    int      // who owns the working directory
}

const nobodyID = 65534

// containerCapabilities are the 14 that a container gets when nobody says otherwise.
const containerCapabilities = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap," +
	"+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap"

var (
	root      = identity{name: "root", root: true}
	nobody    = identity{name: "nobody", uid: nobodyID, prefix: []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"}}
	container = identity{name: "container", root: true, prefix: []string{"setpriv", "--bounding-set=" + containerCapabilities, "--inh-caps=-all", "--"}}
)

// rules about other files, programs and protocols than any program here is about:
// with them the tracer holds every call that it ever holds.
const rules = `apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: other}
spec:
  severity: 5
  process: {matchPaths: [{path: %[1]s/program}]}
  file: {matchPaths: [{path: %[1]s/secret}]}
  network: {matchProtocols: [{protocol: sctp}]}
  action: Block
`

// stage is where a program runs: a directory with a copy of the tracer and of
// testdata, which any user may read, and one to work in, which is made anew for
// each run under the same name.
type stage struct {
	row            *row
	who            identity
	engine         string
	dir, work      string
	tracer, script string
}

func newStage(t *testing.T, r *row, who identity, engine string) *stage {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	s := &stage{
		row: r, who: who, engine: engine, dir: dir, work: filepath.Join(dir, "work"),
		tracer: filepath.Join(dir, "tracer"), script: filepath.Join(dir, "testdata", r.script),
	}
	if _, err := os.Stat("../../bin/tracer"); err != nil {
		t.Fatalf("%v: run \"make build\" first", err)
	}
	copyFile(t, "../../bin/tracer", s.tracer, 0o755)
	if err := os.Mkdir(filepath.Join(dir, "testdata"), 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		copyFile(t, file, filepath.Join(dir, file), 0o755)
	}
	for name, text := range map[string]string{"secret": "secret\n", "policy.yaml": fmt.Sprintf(rules, dir)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(s.log(), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.give(t, s.log())
	return s
}

// give makes a file the identity's.
func (s *stage) give(t *testing.T, path string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	if err := os.Chown(path, s.who.uid, s.who.uid); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	body, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, body, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

// command is what is run; the identity comes first, so that the tracer has no
// more rights than the program.
func (s *stage) command(traced bool) []string {
	argv := slices.Clone(s.who.prefix)
	if os.Getuid() != 0 {
		argv = nil // nobody in particular already
	}
	if traced {
		argv = append(argv, s.tracer, "run", "--engine", s.engine, "--sidekick-url=", "--policies", filepath.Join(s.dir, "policy.yaml"), "--log-file", s.log(), "--log-level", "warn", "--")
	}
	return append(append(argv, s.script), s.row.args...)
}

func (s *stage) commandLine(traced bool) string { return strings.Join(s.command(traced), " ") }

// log is where the tracer says what it could not do.
func (s *stage) log() string { return filepath.Join(s.dir, "log") }

// marker is a variable by which processes of this stage are told from others.
func (s *stage) marker() string { return "SIDEARMOR_DIFFERENTIAL=" + s.dir }

func (s *stage) env() []string {
	return []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + s.work, "TMPDIR=" + s.work, "TESTDATA=" + filepath.Join(s.dir, "testdata"),
		"LC_ALL=C.UTF-8", "TZ=UTC", "TERM=dumb", "PYTHONDONTWRITEBYTECODE=1", s.marker(),
	}
}

// outcome is all that is compared of a run.
type outcome struct {
	end            string
	stdout, stderr string
	files          string
}

func (s *stage) run(t *testing.T, traced bool) outcome {
	t.Helper()
	s.clean(t)
	defer s.endAll()
	limit := 100 * time.Second
	if s.row.limit != 0 {
		limit = s.row.limit
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	argv := s.command(traced)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = &stdout, &stderr, s.work, s.env()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal of the tester's
	cmd.WaitDelay = 5 * time.Second                      // a daemon may have kept the output open
	cmd.Cancel = func() error {
		t.Logf("did not end in %v, traced: %v. Its processes:\n%s", limit, traced, s.processes())
		s.endAll()
		return cmd.Process.Kill()
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		t.Fatalf("%v: %v", argv, err)
	}
	end := "exit status " + strconv.Itoa(statusOf(cmd.ProcessState))
	switch {
	case ctx.Err() != nil:
		end = fmt.Sprintf("not within %v", limit)
	case errors.Is(err, exec.ErrWaitDelay):
		end += ", and the output was not closed"
	}
	return outcome{end: end, stdout: stdout.String(), stderr: stderr.String(), files: filesIn(t, s.work)}
}

// statusOf is the exit status as a shell, and the tracer, would give it.
func statusOf(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// clean makes the working directory anew.
func (s *stage) clean(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(s.work); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.work, 0o755); err != nil {
		t.Fatal(err)
	}
	s.give(t, s.work)
}
