package supervise

import (
	"encoding/binary"
	"errors"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// attribute is an extended attribute that is set or removed.
type attribute struct {
	name   string
	value  []byte
	flags  int
	remove bool
}

// maxAttribute and maxAttributeName are XATTR_SIZE_MAX and XATTR_NAME_MAX of the
// kernel.
const (
	maxAttribute     = 65536
	maxAttributeName = 255
)

// readAttribute reads the attribute of a call. What the kernel refuses at once is
// its own error.
func (w *worker) readAttribute(c *call, ch *change) (err error) {
	a := &ch.attr
	switch c.Spec.ID {
	case syscalls.Removexattr, syscalls.Lremovexattr, syscalls.Fremovexattr:
		a.remove = true
	default:
		if a.flags = int(int32(c.Args[c.Spec.Attr+3])); a.flags&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0 {
			return unix.EINVAL
		}
	}
	a.name, err = c.process.ReadString(c.TID, c.Args[c.Spec.Attr], maxAttributeName+1)
	if errors.Is(err, unix.ENAMETOOLONG) || err == nil && a.name == "" {
		return unix.ERANGE
	}
	if err != nil || a.remove {
		return err
	}
	size := c.Args[c.Spec.Attr+2]
	if size > maxAttribute {
		return unix.E2BIG
	}
	a.value = make([]byte, size)
	return c.process.ReadMemory(c.TID, c.Args[c.Spec.Attr+1], a.value)
}

// set sets or removes the attribute of the file fd, or of the link that it is.
func (a *attribute) set(fd int) error {
	file := "/proc/self/fd/" + strconv.Itoa(fd) // which no *at call replaces before Linux 6.13
	if a.remove {
		return unix.Removexattr(file, a.name)
	}
	return unix.Setxattr(file, a.name, a.value, a.flags)
}

// readTimes reads the times of a call, in the structure that it takes.
func (w *worker) readTimes(c *call, ch *change) error {
	if _, open := c.descriptor(); open && c.flags() != 0 {
		return unix.EINVAL
	}
	addr := c.Args[c.Spec.Times]
	if addr == 0 {
		return nil
	}
	var b [4 * unsafe.Sizeof(int64(0))]byte
	size := len(b)
	if c.Spec.ID == syscalls.Utime { // struct utimbuf: two seconds
		size /= 2
	}
	if err := c.process.ReadMemory(c.TID, addr, b[:size]); err != nil {
		return err
	}
	word := func(i int) int64 { return int64(binary.NativeEndian.Uint64(b[8*i:])) }
	ch.times = make([]unix.Timespec, 2)
	for i := range ch.times {
		t := &ch.times[i]
		switch c.Spec.ID {
		case syscalls.Utime:
			t.Sec = word(i)
		case syscalls.Utimensat:
			t.Sec, t.Nsec = word(2*i), word(2*i+1)
		default: // struct timeval
			usec := word(2*i + 1)
			if usec < 0 || usec >= 1e6 {
				return unix.EINVAL
			}
			t.Sec, t.Nsec = word(2*i), usec*1000
		}
	}
	return nil
}
