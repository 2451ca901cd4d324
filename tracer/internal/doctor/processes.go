package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// nobody is a user that is not the tracer's.
const nobody = 65534

// otherProcesses tells of what may be done to the processes of a workload. It
// starts some of its own.
func otherProcesses(ctx context.Context, o Options) []Finding {
	found := []Finding{
		attempt("ptrace", withChild(ctx, o, nil, seize), "Where there is no user notification, the tracer ends with status 125. Where there is, an exec is checked before it runs and not followed: a thread that changes the path meanwhile can get past program rules. Races are looked for at the new program's first calls."),
		attempt("read a process's memory", withChild(ctx, o, nil, readMemory), "Memory is read through /proc, which is slower."),
		attempt("pidfd_getfd", withChild(ctx, o, nil, getFD), "The tracer cannot borrow a socket. Where a rule about endpoints could deny, calls are held by ptrace, which costs more. Else a connect is checked and then let run."),
	}
	other := attempt("look into another user's process", withChild(ctx, o, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}, lookInto),
		"What a rule could deny to processes of another user is denied.")
	namespace := attempt("user namespaces", withChild(ctx, o, &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
	}, func(int) error { return nil }), "None for the tracer: workloads cannot make namespaces of their own.")
	return append(found, other, namespace)
}

// withChild runs f on a process that waits. An error of its start that is none of
// the attributes' is errCannotTell's.
func withChild(ctx context.Context, o Options, attr *syscall.SysProcAttr, f func(pid int) error) error {
	cmd := exec.CommandContext(ctx, o.Self, o.Child...)
	cmd.Env, cmd.SysProcAttr = []string{}, attr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("%w: %w", errCannotTell, err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("%w: %w", errCannotTell, err)
	}
	// A tracee belongs to the thread that attached to it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		if attr != nil {
			return err
		}
		return fmt.Errorf("%w: %w", errCannotTell, err)
	}
	defer func() {
		stdin.Close()
		_ = cmd.Wait() // it ends when its input does
	}()
	if _, err := stdout.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", errCannotTell, err)
	}
	return f(cmd.Process.Pid)
}

// Wait is what the started process does: it says that it runs, and waits for the
// end of its input.
func Wait(stdin io.Reader, stdout io.Writer) error {
	if _, err := stdout.Write([]byte(".")); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, stdin)
	return err
}

func seize(pid int) error {
	if err := unix.PtraceSeize(pid); err != nil {
		return err
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		return err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		return err
	}
	return unix.PtraceDetach(pid)
}

func readMemory(pid int) error {
	var b [1]byte
	local := []unix.Iovec{{Base: &b[0], Len: 1}}
	start, err := firstMapping(pid)
	if err != nil {
		return fmt.Errorf("%w: %w", errCannotTell, err)
	}
	_, err = unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: start, Len: 1}}, 0)
	return err
}

// firstMapping is an address that the process has mapped.
func firstMapping(pid int) (uintptr, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/maps")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	line := make([]byte, 64)
	n, err := f.Read(line)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(line[:n]), "-")
	start, err := strconv.ParseUint(first, 16, 64)
	return uintptr(start), err
}

func getFD(pid int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, 0, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// lookInto reads what needs the access of ptrace, as the tracer does.
func lookInto(pid int) error {
	if _, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe"); err == nil {
		return nil
	}
	return asUser(nobody, func() error {
		_, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
		return err
	})
}

// asUser runs f with the file system ids of a user on this thread, which is locked.
func asUser(id int, f func() error) error {
	uid, gid := os.Geteuid(), os.Getegid()
	if err := errors.Join(unix.Setfsgid(id), unix.Setfsuid(id)); err != nil {
		return err
	}
	defer func() { _ = errors.Join(unix.Setfsuid(uid), unix.Setfsgid(gid)) }()
	return f()
}
