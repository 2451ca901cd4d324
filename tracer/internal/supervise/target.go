package supervise

import (
	"cmp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// target is what one path of a change leads to: an entry of a directory, which
// need not be there, or a file.
type target struct {
	path  string       // absolute; "" where the call has no such path
	file  paths.Result // the file, or the directory that the entry is in
	entry bool
	base  string      // the entry as the caller names it: slashes behind it count
	stat  unix.Stat_t // of what the entry is; Mode 0 where it is not there
}

func (t *target) close() {
	if t.path != "" {
		t.file.Close()
	}
}

func (t *target) exists() bool { return t.kind() != 0 }

// kind is the S_IFMT part of its mode, 0 where it is not there.
func (t *target) kind() uint32 {
	if t.entry {
		return t.stat.Mode & unix.S_IFMT
	}
	return t.file.Type
}

// owner is the owner of the file, or of the directory that it would be made in.
func (t *target) owner() int {
	if t.entry && t.exists() {
		return int(t.stat.Uid)
	}
	return t.file.OwnerUID
}

// special says whether it is a name with which every change of an entry fails.
func (t *target) special() bool {
	if !t.entry {
		return false
	}
	name := strings.TrimRight(t.base, "/")
	return name == "" || name == "." || name == ".."
}

// own says whether it is in the tracer's own directory of procfs.
func (t *target) own() bool { return t.file.Own }

// readChange finds out what the call is about.
func (w *worker) readChange(c *call, ch *change) error {
	err := w.readValues(c, ch)
	if err != nil {
		return err
	}
	if fd, ok := c.descriptor(); ok {
		return w.findFD(c, fd, &ch.old)
	}
	path, err := w.path(c)
	if err != nil {
		return err
	}
	if ch.old.entry = c.changesEntry(path); ch.old.entry {
		err = w.findEntry(c, c.dirfd(), path, &ch.old)
	} else {
		err = w.findFile(c, c.dirfd(), path, &ch.old)
	}
	if err != nil {
		return err
	}
	ch.opened = path == ""
	if c.Spec.NewPath != syscalls.None {
		if path, err = c.process.ReadString(c.TID, c.Args[c.Spec.NewPath], unix.PathMax); err != nil {
			return err
		}
		ch.new.entry = true
		if err = w.findEntry(c, c.dirfdAt(c.Spec.NewDirfd), path, &ch.new); err != nil {
			return err
		}
	}
	return w.readRest(c, ch)
}

// readRest reads what some calls take besides paths.
func (w *worker) readRest(c *call, ch *change) (err error) {
	switch c.Spec.ID {
	case syscalls.Symlink, syscalls.Symlinkat:
		ch.target, err = c.process.ReadString(c.TID, c.Args[0], unix.PathMax)
	case syscalls.Mkdir, syscalls.Mkdirat, syscalls.Mknod, syscalls.Mknodat:
		var st process.Status
		st, err = c.process.Status(c.TID)
		ch.umask = st.Umask
	case syscalls.Truncate:
		ch.fsize, err = c.process.FileSizeLimit(c.TID)
	}
	return err
}

// readValues reads what a call is to write, which the kernel reads first.
func (w *worker) readValues(c *call, ch *change) error {
	switch {
	case c.Spec.Times != syscalls.None:
		return w.readTimes(c, ch)
	case c.Spec.Attr != syscalls.None:
		return w.readAttribute(c, ch)
	}
	return nil
}

// descriptor is the open file that a call is about, which utimensat and futimesat
// may be as well: without a path.
func (c *call) descriptor() (fd int, ok bool) {
	switch {
	case c.Spec.Path == syscalls.None:
		return int(int32(c.Args[c.Spec.FD])), true
	case (c.Spec.ID == syscalls.Utimensat || c.Spec.ID == syscalls.Futimesat) && c.Args[c.Spec.Path] == 0 && c.dirfd() != unix.AT_FDCWD:
		return c.dirfd(), true
	}
	return -1, false
}

// changesEntry says whether the first path of the call names an entry of a
// directory: a symbolic link is what the call is about then.
func (c *call) changesEntry(path string) bool {
	if c.Spec.ID == syscalls.Linkat {
		return c.flags()&unix.AT_SYMLINK_FOLLOW == 0 && (path != "" || c.flags()&unix.AT_EMPTY_PATH == 0)
	}
	s := c.Spec
	ofFile := s.Mode != syscalls.None || s.Owner != syscalls.None || s.Times != syscalls.None || s.Attr != syscalls.None || s.ID == syscalls.Truncate
	return !ofFile || c.makes()
}

// findEntry finds the directory that a name is in.
func (w *worker) findEntry(c *call, dirfd int, path string, t *target) error {
	if path == "" {
		return unix.ENOENT
	}
	var dir string
	dir, t.base = splitEntry(path)
	file, err := w.resolveAt(c, dirfd, dir, paths.Existing)
	if err != nil {
		return err
	}
	t.file = file
	name := strings.TrimRight(t.base, "/")
	t.path = strings.TrimSuffix(file.Path, "/") + "/" + name
	if !file.Exists {
		return unix.ENOENT
	}
	switch err := unix.Fstatat(file.FD, name, &t.stat, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT); {
	case name == "": // the root directory: every such call fails
		return unix.Fstatat(file.FD, ".", &t.stat, 0)
	case err == unix.ENOENT:
		t.stat = unix.Stat_t{}
	case err != nil:
		return err
	}
	return nil
}

// splitEntry cuts a path into a directory and a name in it, with the slashes
// behind that. The name may be ".", "..", or "/" for the root directory.
func splitEntry(path string) (dir, base string) {
	end := len(strings.TrimRight(path, "/"))
	i := strings.LastIndexByte(path[:end], '/')
	switch {
	case end == 0:
		return "/", "/"
	case i < 0:
		return ".", path
	}
	// A symbolic link is not the last component of the caller's path, which is treated
	// in another way: see fs.protected_symlinks in proc_sys_fs(5).
	return path[:i+1] + ".", path[i+1:]
}

// findFile finds the file that a path leads to.
func (w *worker) findFile(c *call, dirfd int, path string, t *target) error {
	flags := paths.Existing | lookupFlags(c.flags())
	if c.Spec.ID == syscalls.Lchown || c.Spec.ID == syscalls.Lsetxattr || c.Spec.ID == syscalls.Lremovexattr {
		flags |= paths.NoFollow
	}
	file, err := w.resolveAt(c, dirfd, path, flags)
	if err != nil {
		return err
	}
	t.file, t.path = file, file.Path
	if !file.Exists {
		return unix.ENOENT
	}
	return nil
}

// findFD finds an open file. One that was opened with O_PATH is none to these
// calls.
func (w *worker) findFD(c *call, fd int, t *target) error {
	if only, err := c.process.OnlyPath(c.TID, fd); err != nil || only {
		return cmp.Or(err, error(unix.EBADF))
	}
	file, err := w.resolveAt(c, fd, "", paths.EmptyPath)
	if err != nil {
		return err
	}
	t.file, t.path = file, file.Path
	return nil
}
