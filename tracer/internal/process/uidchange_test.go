package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/sidearmor/sidearmor/tracer/internal/process/processtest"
	"golang.org/x/sys/unix"
)

const otherUID = 1000

// changeUID does what the supervisor does at a set*id call, unless nothing may be kept.
func changeUID(t *testing.T, v *processtest.Victim, p *Process, keep bool) {
	t.Helper()
	if keep {
		if err := p.KeepMemory(v.PID); err != nil {
			t.Fatal(err)
		}
	}
	p.MarkCredentials()
	v.Do(command{Op: "setuid", UID: otherUID})
	get(t, p.table, v.PID)
	uid, err := p.UID(v.PID)
	check(t, "UID", uid, err, otherUID)
}

func TestUserIDChangeWithMemoryKept(t *testing.T) {
	processtest.NeedsRoot(t)
	table := newTable(t, Options{})
	dir := t.TempDir()
	v := processtest.Start(t)
	v.Do(command{Op: "chdir", Path: dir})
	p := get(t, table, v.PID)
	changeUID(t, v, p, true)
	expectReadable(t, v, p)

	cwd, err := p.Cwd(v.PID)
	check(t, "Cwd", cwd, err, dir)
	fd, err := p.OpenCwd(v.PID)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	want, err := Identify(unix.AT_FDCWD, dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Identify(fd, "")
	check(t, "OpenCwd", got, err, want)
	same, err := p.SameRoot(v.PID)
	check(t, "SameRoot", same, err, true)
	strs, _, err := p.ReadStrings(v.PID, placeStrings(v, []string{"a", "b"}, null), 10, 100)
	if err != nil || len(strs) != 2 {
		t.Errorf("ReadStrings: %v, %v", strs, err)
	}
	if err := p.ReadMemory(v.PID, 0, make([]byte, 1)); !errors.Is(err, unix.EFAULT) {
		t.Errorf("memory at 0: %v", err)
	}
}

func expectReadable(t *testing.T, v *processtest.Victim, p *Process) {
	t.Helper()
	s, err := p.ReadString(v.PID, place(v, "/etc/passwd\x00"), 4096)
	check(t, "ReadString", s, err, "/etc/passwd")
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	exe, err := p.Exe()
	check(t, "Exe", exe, err, self)
	if fsuid() != os.Geteuid() {
		t.Errorf("the tracer's fsuid is %d", fsuid())
	}
}

// What was not kept is lost, and the error says so. With CAP_SYS_PTRACE nothing ever is.
func TestUserIDChangeWithoutPreparation(t *testing.T) {
	processtest.NeedsRoot(t)
	table := newTable(t, Options{})
	v := processtest.Start(t)
	p := get(t, table, v.PID)
	changeUID(t, v, p, false)
	if table.ptracer {
		expectReadable(t, v, p)
		return
	}
	for name, read := range map[string]func() error{
		"memory":     func() error { return p.ReadMemory(v.PID, place(v, "x"), make([]byte, 1)) },
		"program":    func() error { _, err := p.Exe(); return err },
		"cwd":        func() error { _, err := p.Cwd(v.PID); return err },
		"cwd open":   func() error { _, err := p.OpenCwd(v.PID); return err },
		"root":       func() error { _, err := p.SameRoot(v.PID); return err },
		"root open":  func() error { _, err := p.OpenRoot(v.PID); return err },
		"descriptor": func() error { _, err := p.OpenFD(v.PID, 0); return err },
	} {
		if err := read(); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v, want %v", name, err, ErrUnreadable)
		}
	}
	if args, err := p.Args(); err != nil || len(args) != 4-1 {
		t.Errorf("Args = %q, %v: everybody may read them", args, err)
	}
	if fsuid() != os.Geteuid() {
		t.Errorf("the tracer's fsuid is %d", fsuid())
	}
}

// After an exec the new image belongs to the other user and is open to that user.
func TestUserIDChangeThenExec(t *testing.T) {
	processtest.NeedsRoot(t)
	for _, keep := range []bool{true, false} {
		table := newTable(t, Options{})
		v := processtest.Start(t)
		p := get(t, table, v.PID)
		changeUID(t, v, p, keep)
		p.MarkExec(v.PID)
		v.Exec(command{Path: "/proc/self/exe", Args: []string{"again"}})
		p = get(t, table, v.PID)
		expectReadable(t, v, p)
		line, err := p.Args()
		if err != nil || len(line) != 2 || line[1] != "again" {
			t.Errorf("Args = %q, %v", line, err)
		}
		for name, open := range map[string]func() (int, error){
			"cwd":        func() (int, error) { return p.OpenCwd(v.PID) },
			"root":       func() (int, error) { return p.OpenRoot(v.PID) },
			"descriptor": func() (int, error) { return p.OpenFD(v.PID, 0) },
		} {
			fd, err := open()
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			unix.Close(fd)
		}
		if _, err := p.OpenFD(v.PID, 999); !errors.Is(err, unix.EBADF) {
			t.Errorf("descriptor 999: %v, want EBADF", err)
		}
	}
}

// An exec that failed leaves the old memory, which the kept file still shows as long as that is certain.
func TestUserIDChangeThenFailedExec(t *testing.T) {
	processtest.NeedsRoot(t)
	table := newTable(t, Options{})
	v := processtest.Start(t)
	p := get(t, table, v.PID)
	changeUID(t, v, p, true)
	p.MarkExec(v.PID)
	if r := v.Try(command{Op: "exec", Path: "/"}); r.Errno == 0 {
		t.Fatal("a directory was executed")
	}
	p = get(t, table, v.PID)
	_, err := p.ReadString(v.PID, place(v, "x\x00"), 10)
	switch {
	case table.ptracer && err != nil:
		t.Error(err)
	case !table.ptracer && !errors.Is(err, ErrUnreadable):
		// The victim did execute something before, so nobody can tell that this exec failed.
		t.Errorf("%v, want %v", err, ErrUnreadable)
	}
}

// The image of a program that its user may not read stays closed after the exec. The file that was kept from before
// shows other memory and must not be used.
func TestUserIDChangeThenExecOfUnreadableProgram(t *testing.T) {
	processtest.NeedsRoot(t)
	table := newTable(t, Options{})
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil { // another user is to get here
		t.Fatal(err)
	}
	file := filepath.Join(dir, "program")
	v := processtest.Start(t)
	v.Do(command{Op: "copy-self", Path: file})
	if err := os.Chmod(file, 0o711); err != nil {
		t.Fatal(err)
	}
	p := get(t, table, v.PID)
	changeUID(t, v, p, true)
	p.MarkExec(v.PID)
	v.Exec(command{Path: file})
	p = get(t, table, v.PID)
	_, err := p.ReadString(v.PID, place(v, "x\x00"), 10)
	if table.ptracer == errors.Is(err, ErrUnreadable) {
		t.Errorf("with CAP_SYS_PTRACE %v: %v", table.ptracer, err)
	}
}

func TestUndumpable(t *testing.T) {
	table := newTable(t, Options{})
	v := processtest.Start(t)
	p := get(t, table, v.PID)
	if err := p.KeepMemory(v.PID); err != nil {
		t.Fatal(err)
	}
	v.Do(command{Op: "undumpable"})
	get(t, table, v.PID)
	expectReadable(t, v, p)
}

// A stand-in may what the thread that it stands in for may, and has the tracer's own rights back when that is the
// tracer's equal.
func TestStandIn(t *testing.T) {
	processtest.NeedsRoot(t)
	table := newTable(t, Options{})
	equal, other := processtest.Start(t), processtest.Start(t)
	other.Do(command{Op: "setuid", UID: otherUID})
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() error {
		fd, err := unix.Open(secret, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	failures := make(chan error)
	go func() {
		defer close(failures)
		runtime.LockOSThread()
		s, err := table.NewStandIn()
		if err != nil {
			failures <- err
			return
		}
		for range 3 {
			for _, c := range []struct {
				v    *processtest.Victim
				want error
			}{{equal, nil}, {other, unix.EACCES}} {
				if err := s.Become(get(t, table, c.v.PID), c.v.PID); err != nil {
					failures <- err
				}
				if err := open(); !errors.Is(err, c.want) {
					failures <- fmt.Errorf("open in the place of %d: %w", c.v.PID, err)
				}
				got, gotErr := table.readCredentials(unix.Gettid())
				want, wantErr := table.readCredentials(c.v.PID)
				if gotErr != nil || wantErr != nil || !got.equal(want) {
					failures <- fmt.Errorf("credentials %+v, want %+v: %w %w", got, want, gotErr, wantErr)
				}
			}
		}
	}()
	for err := range failures {
		t.Error(err)
	}
	if after, err := table.readCredentials(unix.Gettid()); err != nil || !after.equal(&table.own) {
		t.Errorf("the tracer's other threads: %+v, %v", after, err)
	}
}

func TestMemoryFilesAreClosed(t *testing.T) {
	before := openFDs(t)
	table, err := NewTable(Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := processtest.Start(t)
	p := get(t, table, v.PID)
	p.noVMReadv = true // as where process_vm_readv is refused
	addr := place(v, "x\x00")
	for range 20 {
		if _, err := p.ReadString(v.PID, addr, 10); err != nil {
			t.Fatal(err)
		}
	}
	table.remove(p)
	if _, err := p.ReadString(v.PID, addr, 10); err != nil {
		t.Errorf("with an evicted record: %v", err)
	}
	table.Close()
	v.Stop()
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
}

// A process of another user that keeps a capability for files is looked into from a
// thread of root, whose own go with the step to that user.
func TestOtherUserWithCapabilities(t *testing.T) {
	processtest.NeedsRoot(t)
	cmd := exec.CommandContext(t.Context(), "setpriv", "--reuid", strconv.Itoa(otherUID), "--regid", strconv.Itoa(otherUID), "--clear-groups",
		"--inh-caps=+dac_override", "--ambient-caps=+dac_override", "cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer stdin.Close()
	if _, err := io.WriteString(stdin, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil { // it runs, so setpriv is done
		t.Fatal(err)
	}
	exe, err := get(t, newTable(t, Options{}), cmd.Process.Pid).Exe()
	if err != nil || filepath.Base(exe) != "cat" {
		t.Errorf("%q, %v", exe, err)
	}
}
