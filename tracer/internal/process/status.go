package process

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Status is what changes without a held call, and so is read each time.
type Status struct {
	Umask  uint32
	FDSize int // the size of the table of descriptors, more than the highest one in use
}

// Status reads that of the thread tid.
func (p *Process) Status(tid int) (Status, error) {
	s := Status{FDSize: -1}
	found := false
	err := p.table.readStatus(tid, func(key, value []byte) bool {
		switch string(key) {
		case "Umask":
			m, err := strconv.ParseUint(string(value), 8, 32)
			s.Umask, found = uint32(m), err == nil
		case "FDSize":
			n, err := strconv.Atoi(string(value))
			if err == nil {
				s.FDSize = n
			}
			return false // it stands behind the umask
		}
		return true
	})
	if err == nil && (!found || s.FDSize < 0) {
		err = fmt.Errorf("/proc/%d/status has no umask or no table of descriptors", tid)
	}
	return s, err
}

// TracedBy is the process that traces the thread tid by ptrace, 0 for none.
func (p *Process) TracedBy(tid int) (int, error) {
	tracer := 0
	err := p.table.readStatus(tid, func(key, value []byte) bool {
		if string(key) != "TracerPid" {
			return true
		}
		tracer, _ = strconv.Atoi(string(value)) // the kernel writes a number
		return false
	})
	return tracer, err
}

// RoomForFD says whether the thread tid, whose table of descriptors has size entries, has count descriptors to spare; if not,
// the error is EMFILE.
func (p *Process) RoomForFD(tid, size, count int) error {
	limit, err := p.fdLimit(tid)
	if err != nil {
		return err
	}
	if uint64(size+count) <= limit {
		return nil // the kernel makes the table longer
	}
	used := uint64(0)
	err = p.Reach(tid, func() error {
		used = 0
		return p.table.eachName(tid, "/fd", func(name string) {
			if n, err := strconv.ParseUint(name, 10, 32); err == nil && n < limit {
				used++
			}
		})
	})
	switch {
	case errors.Is(err, ErrUnreadable):
		return nil // the kernel says so when the file is given
	case err != nil:
		return err
	case used+uint64(count) > limit:
		return unix.EMFILE
	}
	return nil
}

// fdLimit is the thread's soft RLIMIT_NOFILE.
func (p *Process) fdLimit(tid int) (uint64, error) {
	return p.limit(tid, unix.RLIMIT_NOFILE, "Max open files")
}

// FileSizeLimit is the thread's soft RLIMIT_FSIZE.
func (p *Process) FileSizeLimit(tid int) (uint64, error) {
	return p.limit(tid, unix.RLIMIT_FSIZE, "Max file size")
}

// limit reads a soft limit; name is the kernel's for it.
func (p *Process) limit(tid, resource int, name string) (uint64, error) {
	var lim unix.Rlimit
	if err := unix.Prlimit(tid, resource, nil, &lim); err == nil {
		return lim.Cur, nil
	}
	// That is refused for processes of other users. This is not.
	buf := p.table.scratch()
	defer p.table.release(buf)
	b, err := p.table.readFile(tid, "/limits", *buf)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				if f[0] == "unlimited" {
					return unix.RLIM_INFINITY, nil
				}
				return strconv.ParseUint(f[0], 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("/proc/%d/limits has no limit called %q", tid, name)
}

// OnlyPath says whether the descriptor fd of the thread tid was opened with O_PATH. EBADF says that there is none. Of a
// process that is not readable any more it is not known, and false.
func (p *Process) OnlyPath(tid, fd int) (only bool, err error) {
	name := strconv.Itoa(fd)
	err = p.Reach(tid, func() error {
		var st unix.Stat_t
		if err := unix.Fstatat(p.table.proc, idName(tid, "/fd/"+name), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if st.Mode&0o700 != 0 { // what it was opened for
			return nil
		}
		// Neither to read nor to write: with O_PATH, or only for ioctl (open(2), access mode 3).
		flags, err := p.table.fdFlags(tid, name)
		only = flags&unix.O_PATH != 0
		return err
	})
	switch {
	case errors.Is(err, ErrUnreadable):
		return false, nil
	case errors.Is(err, unix.ENOENT):
		return false, unix.EBADF
	case err != nil:
		return false, err
	}
	return only, nil
}

// fdFlags are the flags that the descriptor of a thread was opened with.
func (t *Table) fdFlags(tid int, fd string) (uint64, error) {
	buf := t.scratch()
	defer t.release(buf)
	b, err := t.readFile(tid, "/fdinfo/"+fd, *buf)
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "flags:\t")
	text, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseUint(text, 8, 64)
}

// eachName calls f for the names in a directory of /proc/ID.
func (t *Table) eachName(id int, name string, f func(string)) error {
	path := idName(id, name)
	fd, err := unix.Openat(t.proc, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return procError("open", path, err)
	}
	defer unix.Close(fd)
	buf := t.scratch()
	defer t.release(buf)
	for {
		n, err := unix.ReadDirent(fd, *buf)
		if err != nil {
			return procError("read", path, err)
		}
		if n == 0 {
			return nil
		}
		_, _, names := unix.ParseDirent((*buf)[:n], -1, nil)
		for _, name := range names {
			f(name)
		}
	}
}
