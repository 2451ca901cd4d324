package paths

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"golang.org/x/sys/unix"
)

// walker resolves a path one component at a time, as path_resolution(7) says, from the workload's point of view.
type walker struct {
	*Resolver
	q    *request
	rest string // what is still to be resolved

	cur   int // the directory (or file) reached so far; owned
	stat  unix.Stat_t
	mount uint64 // of cur; only kept for NoXDev

	root   int // where absolute paths start and ".." stops; owned; -1 for the tracer's own root
	rootID process.Identity
	links  int    // symbolic links followed
	long   string // the name of cur, if it is the last one and the kernel cannot tell it
	// rootSeen: the kernel has had to do with the root. Before that, NoXDev refuses every absolute symbolic link,
	// because the kernel compares its mount with that of a root that it has not looked up yet.
	rootSeen bool
	// foreign: the way led through a procfs of a pid namespace that the tracer is not in.
	foreign bool
}

// walk resolves what the kernel cannot resolve for the workload at once.
func (r *Resolver) walk(q *request) (Result, error) {
	w := &walker{Resolver: r, q: q, rest: q.path, cur: -1, root: -1}
	defer w.close()
	if err := w.start(); err != nil {
		return none(), err
	}
	for {
		res, done, err := w.next()
		if err != nil || done {
			return res, err
		}
	}
}

func (w *walker) close() {
	for _, fd := range []int{w.cur, w.root} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// start sets the root and the first directory.
func (w *walker) start() error {
	if err := w.openRoot(); err != nil {
		return err
	}
	w.rootSeen = w.q.absolute() || w.q.flags&scoped != 0
	if w.q.absolute() {
		return w.toRoot()
	}
	fd, err := w.q.openBase()
	if err != nil {
		return err
	}
	return w.move(fd)
}

func (w *walker) openRoot() error {
	var err error
	if w.q.flags&scoped != 0 {
		w.root, err = w.q.openBase()
	} else {
		var same bool
		if same, err = w.q.p.SameRoot(w.q.tid); err != nil || same {
			return err
		}
		w.root, err = w.q.p.OpenRoot(w.q.tid)
	}
	if err != nil {
		w.root = -1
		return err
	}
	w.rootID, err = process.Identify(w.root, "")
	return err
}

func (w *walker) toRoot() error {
	from := w.root
	if from < 0 {
		from = w.rootFD
	}
	fd, err := unix.FcntlInt(uintptr(from), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return w.move(fd)
}

// move makes fd the current file and takes it over.
func (w *walker) move(fd int) error {
	first := w.cur < 0
	if !first {
		unix.Close(w.cur)
	}
	w.cur = fd
	if err := unix.Fstat(fd, &w.stat); err != nil {
		return err
	}
	if w.q.flags&NoXDev == 0 {
		return nil
	}
	id, err := process.Identify(fd, "")
	if err != nil {
		return err
	}
	if id.Mount == 0 { // before Linux 5.8: bind mounts of the same file system go unnoticed
		id.Mount = id.Dev
	}
	if !first && id.Mount != w.mount {
		return unix.EXDEV
	}
	w.mount = id.Mount
	return nil
}

// next resolves one component.
func (w *walker) next() (res Result, done bool, err error) {
	slashes := len(w.rest) > 0 && w.rest[0] == '/'
	comp, rest, more := strings.Cut(strings.TrimLeft(w.rest, "/"), "/")
	if (slashes || comp != "") && !w.isDir() {
		return none(), true, unix.ENOTDIR
	}
	if more {
		rest = "/" + rest // says that comp must be a directory
	}
	w.rest = rest
	switch comp {
	case "":
		fd := w.cur
		w.cur = -1
		if w.long != "" {
			res, err = w.describe(fd, w.long)
		} else {
			res, err = w.found(fd)
		}
		res.Own = res.Own && !w.foreign
		return res, true, err
	case ".":
		return none(), false, nil
	case "..":
		return none(), false, w.up()
	}
	return w.step(comp)
}

func (w *walker) isDir() bool { return w.stat.Mode&unix.S_IFMT == unix.S_IFDIR }

// final reports whether nothing but slashes is left.
func (w *walker) final() bool { return strings.Trim(w.rest, "/") == "" }

// up goes to the parent directory, but not above the root.
func (w *walker) up() error {
	w.rootSeen = true
	if w.root >= 0 {
		id, err := process.Identify(w.cur, "")
		if err != nil {
			return err
		}
		if id == w.rootID {
			if w.q.flags&Beneath != 0 {
				return unix.EXDEV
			}
			return nil
		}
	}
	fd, err := open(w.cur, "..", unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	return w.move(fd)
}

// step goes to the entry comp of the current directory.
func (w *walker) step(comp string) (res Result, done bool, err error) {
	w.noteProcfs()
	if w.q.flags&Create != 0 && w.rest != "" && w.final() {
		return none(), true, unix.EISDIR
	}
	fd, err := open(w.cur, comp, unix.O_NOFOLLOW)
	if err == unix.EACCES && w.ownDescriptors() {
		fd, err = w.openOwn(comp)
	}
	switch {
	case err == unix.ENOENT && w.final():
		res, err = w.notThere(comp)
		return res, true, err
	case errors.Is(err, process.ErrUnreadable) && !(w.final() && w.q.flags&NoFollow != 0):
		return none(), false, w.jump(comp)
	case err != nil:
		return none(), true, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return none(), true, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK && !(w.rest == "" && w.q.flags&NoFollow != 0) {
		defer unix.Close(fd)
		return none(), false, w.follow(fd, comp, &st)
	}
	if w.rest == "" && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if err := w.noteLongName(fd, comp); err != nil {
			unix.Close(fd)
			return none(), true, err
		}
	}
	return none(), false, w.move(fd)
}

// noteLongName notes the name of the last file of the path, fd, if the kernel cannot tell it.
func (w *walker) noteLongName(fd int, comp string) (err error) {
	if _, nameErr := w.name(fd); errors.Is(nameErr, ErrNoName) {
		w.long, err = w.nameIn(w.cur, comp, fd)
	}
	return err
}

func (w *walker) notThere(base string) (Result, error) {
	link, err := w.name(w.cur)
	if err != nil {
		return none(), err
	}
	fd := w.cur
	w.cur = -1
	return missing(fd, link, base)
}

// follow goes through the symbolic link fd, which is the entry comp of the current directory.
func (w *walker) follow(fd int, comp string, st *unix.Stat_t) error {
	if w.links++; w.links > maxSymlinks || w.q.flags&NoSymlinks != 0 {
		return unix.ELOOP
	}
	if err := w.mayFollow(fd, st); err != nil {
		return err
	}
	if isProc(fd) {
		if st.Dev != w.stat.Dev || w.stat.Ino != procRootIno {
			return w.jump(comp)
		}
		if comp == "self" || comp == "thread-self" {
			target, err := w.self(comp)
			w.rest = target + w.rest
			return err
		}
	}
	target, err := w.readlink(fd)
	if err != nil {
		return err
	}
	w.rest = target + w.rest
	if target[0] != '/' {
		return nil
	}
	if w.q.flags&Beneath != 0 || (w.q.flags&NoXDev != 0 && !w.rootSeen) {
		return unix.EXDEV
	}
	w.rootSeen = true
	return w.toRoot()
}

// jump goes through a magic link, which the kernel follows to a file and not to a name. All symbolic links below the
// root of procfs are such.
func (w *walker) jump(comp string) error {
	switch {
	case w.q.flags&NoMagicLinks != 0:
		return unix.ELOOP
	case w.q.flags&scoped != 0:
		return unix.EXDEV
	case w.q.flags&Cached != 0:
		return unix.EAGAIN
	}
	// The tracer itself may follow its own links; the workload may not, for the tracer is not dumpable.
	name, err := w.name(w.cur)
	if err != nil || !w.foreign && w.isOwn(w.cur, name) {
		return fmt.Errorf("follow a link of the tracer's own: %w", unix.EACCES)
	}
	fd, err := w.followMagic(name, comp)
	if err != nil {
		return fmt.Errorf("follow a link of procfs: %w", err)
	}
	return w.move(fd)
}

func (w *walker) readlink(fd int) (string, error) {
	buf := w.buffers.Get().(*[]byte)
	defer w.buffers.Put(buf)
	n, err := unix.Readlinkat(fd, "", *buf)
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "", unix.ENOENT
	}
	return string((*buf)[:n]), nil
}

// open opens a file for its name only: no FIFO or device is touched, and nothing waits.
func open(dirfd int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, name, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
