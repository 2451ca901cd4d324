package process

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stat is what is used of /proc/PID/stat, see proc_pid_stat(5).
type stat struct {
	comm       string
	state      byte // 'Z': exited, though other threads may run if it is a leader
	ppid       int
	tty        uint64
	flags      uint64
	start      uint64 // clock ticks since boot
	startStack uint64 // 0 when the tracer may not read the process

	clock uint64 // table.clock before it was read; 0 where nobody asks for that
}

// forkNoExec is PF_FORKNOEXEC: the process runs the image that it was forked with.
const forkNoExec = 0x40

// Positions in /proc/PID/stat, counted from the state behind the name in parentheses: the manual's number less 3.
const (
	statState      = 0
	statPPID       = 1
	statTTY        = 4
	statFlags      = 6
	statStart      = 19
	statStartStack = 25
)

func (t *Table) readStat(pid int) (stat, error) {
	buf := t.scratch()
	defer t.release(buf)
	b, err := t.readFile(pid, "/stat", *buf)
	if err != nil {
		return stat{}, err
	}
	st, err := parseStat(b)
	if err != nil {
		return stat{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return st, nil
}

func parseStat(b []byte) (stat, error) {
	// The name may hold anything, parentheses and newlines too: only its first and the last parenthesis are certain.
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return stat{}, errors.New("no command name in parentheses")
	}
	st := stat{comm: string(b[open+1 : end])}
	rest := b[end+1:]
	for n := range statStartStack + 1 {
		var field []byte
		if field, rest = nextField(rest); len(field) == 0 {
			return stat{}, fmt.Errorf("%d fields behind the command name, want more than %d", n, statStartStack)
		}
		if err := st.set(n, field); err != nil {
			return stat{}, fmt.Errorf("field %d behind the command name: %w", n, err)
		}
	}
	return st, nil
}

// set takes down one field, if it is of use.
func (st *stat) set(position int, field []byte) (err error) {
	switch position {
	case statState:
		st.state = field[0]
	case statPPID:
		st.ppid, err = strconv.Atoi(string(field))
	case statTTY:
		var tty int64 // printed as a signed int
		tty, err = strconv.ParseInt(string(field), 10, 64)
		st.tty = uint64(uint32(tty))
	case statFlags:
		st.flags, err = strconv.ParseUint(string(field), 10, 64)
	case statStart:
		st.start, err = strconv.ParseUint(string(field), 10, 64)
	case statStartStack:
		st.startStack, err = strconv.ParseUint(string(field), 10, 64)
	}
	return err
}

// nextField cuts the first word from a line.
func nextField(b []byte) (field, rest []byte) {
	b = bytes.TrimLeft(b, " \t\n")
	if i := bytes.IndexAny(b, " \t\n"); i >= 0 {
		return b[:i], b[i:]
	}
	return b, nil
}

// Device numbers of terminals, see the kernel's admin-guide/devices.txt.
const (
	ttyMajor       = 4
	ttySMinor      = 64
	ptsMajorFirst  = 136
	ptsMajorLast   = 143
	minorsPerMajor = 256
)

// ttyName names a terminal as its driver does: "pts0", "tty1", "ttyS0"; "" for none.
func ttyName(dev uint64) string {
	major, minor := int(unix.Major(dev)), int(unix.Minor(dev))
	switch {
	case dev == 0:
		return ""
	case major >= ptsMajorFirst && major <= ptsMajorLast:
		return "pts" + strconv.Itoa((major-ptsMajorFirst)*minorsPerMajor+minor)
	case major == ttyMajor && minor < ttySMinor:
		return "tty" + strconv.Itoa(minor)
	case major == ttyMajor:
		return "ttyS" + strconv.Itoa(minor-ttySMinor)
	default:
		return fmt.Sprintf("tty%d:%d", major, minor)
	}
}

// Signalled says whether the thread tid has a signal to handle: one that is pending and not blocked. (Signals that are
// ignored do not become pending.)
func (t *Table) Signalled(tid int) bool {
	var pending, blocked uint64
	err := t.readStatus(tid, func(key, value []byte) bool {
		switch string(key) {
		case "SigPnd", "ShdPnd":
			bits, _ := strconv.ParseUint(string(value), 16, 64)
			pending |= bits
		case "SigBlk":
			blocked, _ = strconv.ParseUint(string(value), 16, 64)
			return false // it stands behind the others
		}
		return true
	})
	return err == nil && pending&^blocked != 0
}

// readFile reads a file of /proc/ID into buf; what does not fit is cut off.
func (t *Table) readFile(id int, name string, buf []byte) ([]byte, error) {
	var room [procName]byte
	path := appendName(room[:0], id, name)
	fd, err := openat(t.proc, path, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return nil, procError("open", idName(id, name), err)
	}
	defer unix.Close(fd)
	n := 0
	for n < len(buf) {
		m, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, procError("read", idName(id, name), err)
		}
		short := m < len(buf)-n // the end: procfs gives all that fits
		if n += m; short {
			break
		}
	}
	return buf[:n], nil
}

// readlink reads a link of /proc/ID.
func (t *Table) readlink(id int, name string) (string, error) {
	buf := t.scratch()
	defer t.release(buf)
	b, err := t.readlinkInto(*buf, id, name)
	return string(b), err
}

func (t *Table) readlinkInto(buf []byte, id int, name string) ([]byte, error) {
	var room [procName]byte
	n, err := readlinkat(t.proc, appendName(room[:0], id, name), buf)
	if err != nil {
		return nil, procError("readlink", idName(id, name), err)
	}
	return buf[:n], nil
}

// readCwd reads the link of a working directory. Most calls in turn are made in the same one: it takes no memory then.
func (t *Table) readCwd(tid int) (string, error) {
	buf := t.scratch()
	defer t.release(buf)
	b, err := t.readlinkInto(*buf, tid, "/cwd")
	if err != nil {
		return "", err
	}
	if last := t.lastCwd.Load(); last != nil && *last == string(b) {
		return *last, nil
	}
	name := string(b)
	t.lastCwd.Store(&name)
	return name, nil
}

// procName is more than the names of files in /proc/ID need.
const procName = 48

// appendName appends the name of a file of /proc/ID as the kernel takes it, with a NUL. The few calls below take names
// so: several are made for each new process, and the wrappers of package unix copy theirs.
func appendName(b []byte, id int, name string) []byte {
	b = strconv.AppendInt(b, int64(id), 10)
	b = append(b, name...)
	return append(b, 0)
}

func openat(dirfd int, name []byte, flags int) (int, error) {
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dirfd), uintptr(unsafe.Pointer(&name[0])), uintptr(flags), 0, 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}

func readlinkat(dirfd int, name, buf []byte) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_READLINKAT, uintptr(dirfd), uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// procError names a file of /proc and gives what the kernel means: a file that is not there is a process that is not.
func procError(op, path string, err error) error {
	switch err {
	case unix.ENOENT, unix.ESRCH:
		return fmt.Errorf("%s /proc/%s: %w (%w)", op, path, err, ErrGone)
	default:
		return fmt.Errorf("%s /proc/%s: %w", op, path, err)
	}
}

func (t *Table) scratch() *[]byte { return t.buffers.Get().(*[]byte) }

func (t *Table) release(b *[]byte) { t.buffers.Put(b) }
