package supervise

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// carry makes the change: in the directories, and to the files, that were found.
// fds is a directory that names the tracer's descriptors.
func (ch *change) carry(c *call, fds int) error {
	if err := ch.refusal(c); err != nil {
		return err
	}
	switch c.Spec.ID {
	case syscalls.Unlink, syscalls.Unlinkat, syscalls.Rmdir:
		return unix.Unlinkat(ch.old.file.FD, ch.old.base, removeFlags(c))
	case syscalls.Rename, syscalls.Renameat, syscalls.Renameat2:
		return unix.Renameat2(ch.old.file.FD, ch.old.base, ch.new.file.FD, ch.new.base, uint(c.flags()))
	case syscalls.Link, syscalls.Linkat:
		return ch.link(c, fds)
	case syscalls.Symlink, syscalls.Symlinkat:
		return unix.Symlinkat(ch.target, ch.old.file.FD, ch.old.base)
	case syscalls.Mkdir, syscalls.Mkdirat:
		return unix.Mkdirat(ch.old.file.FD, ch.old.base, ch.mode(c))
	case syscalls.Mknod, syscalls.Mknodat:
		return unix.Mknodat(ch.old.file.FD, ch.old.base, ch.mode(c), int(uint32(c.Args[c.Spec.Mode+1])))
	case syscalls.Truncate:
		return ch.truncate(c)
	case syscalls.Chmod, syscalls.Fchmod, syscalls.Fchmodat, syscalls.Fchmodat2:
		return ch.chmod(c, fds)
	case syscalls.Chown, syscalls.Lchown, syscalls.Fchown, syscalls.Fchownat:
		return unix.Fchownat(ch.old.file.FD, "", int(int32(c.Args[c.Spec.Owner])), int(int32(c.Args[c.Spec.Owner+1])), unix.AT_EMPTY_PATH)
	}
	switch {
	case c.Spec.Times != syscalls.None:
		return unix.UtimesNanoAt(fds, strconv.Itoa(ch.old.file.FD), ch.times, 0)
	case c.Spec.Attr != syscalls.None:
		return ch.attr.set(ch.old.file.FD)
	}
	return unix.EACCES
}

// flagsKnown says whether the kernel takes the flags of the call, which it looks at
// before the paths.
func (c *call) flagsKnown() bool {
	flags := c.flags()
	switch c.Spec.ID {
	case syscalls.Unlinkat:
		return flags&^unix.AT_REMOVEDIR == 0
	case syscalls.Linkat:
		return flags&^(unix.AT_SYMLINK_FOLLOW|unix.AT_EMPTY_PATH) == 0
	case syscalls.Fchownat, syscalls.Fchmodat2, syscalls.Utimensat:
		return flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) == 0
	case syscalls.Renameat2:
		const keep, exchange, whiteout = unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE, unix.RENAME_WHITEOUT
		return flags&^(keep|exchange|whiteout) == 0 && (flags&exchange == 0 || flags&(keep|whiteout) == 0)
	}
	return true
}

// refusal is the kernel's answer where the tracer's own call would tell another.
func (ch *change) refusal(c *call) error {
	// A mount of another namespace is not one for the tracer, where the kernel looks.
	for i, t := range ch.ends() {
		if t.exists() && t.entry && (c.moves(i) || c.removes() || i == 1) && t.isMount() {
			return unix.EBUSY
		}
	}
	return nil
}

// removes says whether the call removes what its name is for.
func (c *call) removes() bool {
	switch c.Spec.ID {
	case syscalls.Unlink, syscalls.Unlinkat, syscalls.Rmdir:
		return true
	}
	return false
}

// isMount says whether another file system is mounted there.
func (t *target) isMount() bool {
	if t.special() || t.kind() == unix.S_IFLNK {
		return false
	}
	dir, dirErr := process.Identify(t.file.FD, "")
	at, err := process.Identify(t.file.FD, strings.TrimRight(t.base, "/"))
	return dirErr == nil && err == nil && dir.Mount != at.Mount
}

func removeFlags(c *call) int {
	if c.Spec.ID == syscalls.Rmdir {
		return unix.AT_REMOVEDIR
	}
	return int(c.flags())
}

// mode is the mode to make a file with, see openHow.modeIn.
func (ch *change) mode(c *call) uint32 {
	how := openHow{mode: uint32(c.Args[c.Spec.Mode]), umask: ch.umask}
	return how.modeIn(ch.old.file.FD)
}

// link gives a file another name.
func (ch *change) link(c *call, fds int) error {
	if ch.old.entry {
		return unix.Linkat(ch.old.file.FD, ch.old.base, ch.new.file.FD, ch.new.base, 0)
	}
	if ch.opened {
		// For whoever may read all, and since Linux 6.10 for who has opened the file:
		// this thread does so, with the caller's rights.
		fd, err := unix.Openat(fds, strconv.Itoa(ch.old.file.FD), unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Linkat(fd, "", ch.new.file.FD, ch.new.base, unix.AT_EMPTY_PATH)
	}
	return unix.Linkat(fds, strconv.Itoa(ch.old.file.FD), ch.new.file.FD, ch.new.base, unix.AT_SYMLINK_FOLLOW)
}

// chmod changes the mode of a file. fchmodat2 alone can be asked not to follow a
// symbolic link, and says that it cannot change one.
func (ch *change) chmod(c *call, fds int) error {
	if ch.old.kind() == unix.S_IFLNK {
		return unix.EOPNOTSUPP
	}
	return unix.Fchmodat(fds, strconv.Itoa(ch.old.file.FD), uint32(c.Args[c.Spec.Mode]), 0)
}

// truncate cuts or lengthens a file.
func (ch *change) truncate(c *call) error {
	length := int64(c.Args[1])
	switch {
	case length < 0:
		return unix.EINVAL
	case ch.old.kind() == unix.S_IFDIR:
		return unix.EISDIR
	case ch.old.kind() != unix.S_IFREG:
		return unix.EINVAL
	}
	if uint64(length) > ch.fsize && length > ch.old.size() {
		_ = c.process.SignalThread(c.TID, unix.SIGXFSZ) // ESRCH: it is dead
		return unix.EFBIG
	}
	if !c.Hold.MayWait() { // another process may have a lease for the file
		return errElsewhere
	}
	// By a name, as the caller does it: an open would be seen by who watches the file.
	name := "/proc/self/fd/" + strconv.Itoa(ch.old.file.FD)
	for {
		err := unix.Truncate(name, length)
		if err != unix.EINTR || c.Hold.Interrupted() {
			return err
		}
	}
}

// size is the size of a file that is there.
func (t *target) size() int64 {
	var st unix.Stat_t
	if unix.Fstat(t.file.FD, &st) != nil {
		return 0
	}
	return st.Size
}
