package supervise

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// unknown answers a call that could not be understood: the caller cannot be
// looked at, its memory not be read, or its path leads nowhere. A caller that is
// gone needs nothing. The kernel would fail most such calls by itself, but where
// a rule could deny they are failed here, with the kernel's own error: the
// address may be mapped, or the path lead somewhere, by the time that the kernel
// looks.
func (w *worker) unknown(c *call, err error) engine.Answer {
	if e, ok := kernelsAnswer(err); ok {
		return w.fails(c, e)
	}
	if errors.Is(err, process.ErrGone) || errors.Is(err, unix.ESRCH) || !c.Hold.Valid() {
		return engine.Answer{}
	}
	a := w.fails(c, unix.EACCES)
	w.warn(exe(c.process), "a call of the workload could not be examined", "call", c.Spec.Name, "denied", !a.Continues(), "error", err)
	return a
}

// kernelsAnswer says whether an error of a lookup is what the kernel would have
// told the caller.
func kernelsAnswer(err error) (unix.Errno, bool) {
	var e unix.Errno
	if errors.Is(err, process.ErrUnreadable) || errors.Is(err, process.ErrGone) || errors.Is(err, paths.ErrNoName) || !errors.As(err, &e) {
		return 0, false
	}
	switch e {
	case unix.EFAULT, unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENAMETOOLONG, unix.EBADF, unix.EXDEV, unix.EINVAL,
		unix.EACCES, unix.EPERM, unix.EAGAIN, unix.E2BIG, unix.EIO, unix.ESTALE, unix.ENXIO, unix.ENODEV,
		unix.EMFILE, unix.EISDIR, unix.ERANGE:
		return e, true
	}
	return 0, false
}

// fails answers a call that cannot succeed.
func (w *worker) fails(c *call, e unix.Errno) engine.Answer {
	if c.rules.CanDeny(c.Spec.Op) {
		return engine.Fail(e)
	}
	return engine.Continue()
}

// exe is the program of p for people, "" when it is not known.
func exe(p *process.Process) string {
	if p == nil {
		return ""
	}
	name, _ := p.Exe()
	return name
}

// hasTTY says whether p has a controlling terminal.
func hasTTY(p *process.Process) bool {
	tty, _ := p.TTY()
	return tty != ""
}

// path reads the path argument.
func (w *worker) path(c *call) (string, error) {
	return c.process.ReadString(c.TID, c.Args[c.Spec.Path], unix.PathMax)
}

// flags are those of the call, 0 where it has none. The kernel takes an int.
func (c *call) flags() uint64 {
	if c.Spec.Flags == syscalls.None {
		return 0
	}
	return uint64(uint32(c.Args[c.Spec.Flags]))
}

// dirfd is where the relative path of a call begins.
func (c *call) dirfd() int { return c.dirfdAt(c.Spec.Dirfd) }

// dirfdAt is the directory that an argument is, the working directory without one.
func (c *call) dirfdAt(position int) int {
	if position == syscalls.None {
		return unix.AT_FDCWD
	}
	return int(int32(c.Args[position]))
}

// resolve finds the file that a path leads the caller to, with the caller's rights.
func (w *worker) resolve(c *call, path string, flags paths.Flags) (paths.Result, error) {
	return w.resolveAt(c, c.dirfd(), path, flags)
}

// resolveAt is resolve for a path that begins at dirfd.
func (w *worker) resolveAt(c *call, dirfd int, path string, flags paths.Flags) (paths.Result, error) {
	if err := w.become(c); err != nil {
		return paths.Result{FD: -1, ParentFD: -1}, err
	}
	return w.Paths.Resolve(c.process, c.TID, dirfd, path, flags)
}

// become gives this thread the caller's rights.
func (w *worker) become(c *call) error {
	if w.standIn == nil {
		return process.ErrUnreadable
	}
	return w.standIn.Become(c.process, c.TID)
}

// openHow is what an open asks for, whichever call it is made by.
type openHow struct {
	flags, resolve uint64
	mode           uint32
	umask          uint32 // the caller's; known where a file may be made
}

// Sizes of struct open_how (openat2(2)): of its first version, and the longest
// that the kernel takes.
const (
	howSize    = 24
	maxHowSize = 4096
)

// readHow decodes what the open c asks for.
func readHow(c *call) (openHow, error) {
	switch c.Spec.ID {
	case syscalls.Creat:
		return openHow{flags: unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC, mode: uint32(c.Args[1])}, nil
	case syscalls.Openat2:
		return readHow2(c)
	}
	return openHow{flags: uint64(uint32(c.Args[c.Spec.Flags])), mode: uint32(c.Args[c.Spec.Flags+1])}, nil
}

// readHow2 reads the structure of openat2, and lets the kernel itself check it.
func readHow2(c *call) (openHow, error) {
	size := c.Args[c.Spec.Flags+1]
	switch {
	case size < howSize:
		return openHow{}, unix.EINVAL
	case size > maxHowSize:
		return openHow{}, unix.E2BIG
	}
	b := make([]byte, size)
	if err := c.process.ReadMemory(c.TID, c.Args[c.Spec.Flags], b); err != nil {
		return openHow{}, err
	}
	if errno := checkHow(b); errno != 0 {
		return openHow{}, errno
	}
	return decodeHow(b), nil
}

// checkHow has the kernel look at an open_how: it does so before it looks at the
// path, which is one that leads nowhere.
func checkHow(b []byte) unix.Errno {
	var empty [1]byte
	const none = ^uintptr(0)
	_, _, errno := unix.Syscall6(unix.SYS_OPENAT2, none, uintptr(unsafe.Pointer(&empty)), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0)
	if errno == unix.ENOENT {
		return 0
	}
	return errno
}

func decodeHow(b []byte) openHow {
	return openHow{
		flags:   binary.NativeEndian.Uint64(b),
		mode:    uint32(binary.NativeEndian.Uint64(b[8:])),
		resolve: binary.NativeEndian.Uint64(b[16:]),
	}
}
