package supervise

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
)

// maxRaces bounds how often an open is begun anew because the file appeared, or
// went, while it was looked for.
const maxRaces = 16

// errElsewhere says that the call is one for a thread that may wait.
var errElsewhere = errors.New("the open waits for another process")

// errAgain says that what was found is not there any more.
var errAgain = errors.New("the file has changed meanwhile")

// carryOut answers an open while others could be denied to the caller. Between a
// check of the path in the caller's memory and the kernel's own look at it
// another thread can change it; what the tracer has resolved and checked, it
// opens itself, with the caller's rights, and gives to the caller.
//
// One thing differs from the caller's own open: a terminal does not become the
// controlling one by being opened. (The ioctl TIOCSCTTY still makes it that.)
func (w *worker) carryOut(c *call, how openHow) engine.Answer {
	if how.has(unix.O_CREAT | unix.O_DIRECTORY) {
		return engine.Fail(unix.EINVAL) // since Linux 6.4; earlier kernels made a file and then failed
	}
	if how.has(unix.O_TMPFILE) && how.flags&unix.O_ACCMODE == unix.O_RDONLY {
		return engine.Fail(unix.EINVAL) // before the path is looked at
	}
	path, err := w.path(c)
	if err != nil {
		return w.unknown(c, err)
	}
	if how.changes() {
		if err := w.readyToChange(c, &how); err != nil {
			return w.unknown(c, err)
		}
	}
	if c.domain, err = w.domainOf(c); err != nil {
		return w.unknown(c, err)
	}
	for range maxRaces {
		a, err := w.tryOpen(c, path, &how)
		if !errors.Is(err, errAgain) {
			return a
		}
	}
	return engine.Fail(unix.EAGAIN)
}

// changes says that the open itself may change something.
func (how *openHow) changes() bool {
	return how.flags&(unix.O_CREAT|unix.O_TRUNC) != 0 || how.has(unix.O_TMPFILE)
}

// readyToChange makes sure, before a file is made or cut, that the caller has a
// descriptor to spare, and takes its umask.
func (w *worker) readyToChange(c *call, how *openHow) error {
	st, err := c.process.Status(c.TID)
	if err != nil {
		return err
	}
	how.umask = st.Umask
	return c.process.RoomForFD(c.TID, st.FDSize, 1+w.Can.Spare)
}

// tryOpen resolves, decides, and opens. errAgain says that the file has changed
// meanwhile; the answer counts else.
func (w *worker) tryOpen(c *call, path string, how *openHow) (engine.Answer, error) {
	file, err := w.resolve(c, path, how.lookup())
	if err != nil {
		return w.unknown(c, err), nil
	}
	defer file.Close()
	if !file.Exists && !how.has(unix.O_CREAT) {
		return engine.Fail(unix.ENOENT), nil
	}
	a, err := w.fileAccess(c, &file, how)
	if err != nil {
		return w.unknown(c, err), nil
	}
	v := c.rules.Decide(a)
	if v.Deny {
		w.reportOpen(c, a, v, &file, how)
		return engine.Fail(unix.EACCES), nil
	}
	if how.changes() && !c.Hold.Valid() {
		return engine.Answer{}, nil // what was read may not be the caller's
	}
	fd, err := w.openFor(c, &file, how)
	if errors.Is(err, errAgain) {
		return engine.Answer{}, err
	}
	w.reportOpen(c, a, v, &file, how)
	if err != nil {
		return w.failed(c, err), nil
	}
	if file.Type == unix.S_IFDIR && w.Processes.Follows() {
		if id, err := process.Identify(fd, ""); err == nil {
			c.opened = &openedDirectory{file.Path, id}
		}
	}
	return engine.Install(fd, how.has(unix.O_CLOEXEC)), nil
}

// openedDirectory is what paths of the caller may be relative to from now on.
type openedDirectory struct {
	path string
	id   process.Identity
}

// failed answers an open that failed as the caller's own would have.
func (w *worker) failed(c *call, err error) engine.Answer {
	var e unix.Errno
	switch {
	case errors.Is(err, errElsewhere):
		c.report.due = false
		return engine.Defer()
	case !errors.As(err, &e):
		return engine.Fail(unix.EACCES)
	case e == unix.EINTR && c.Hold.Interrupted():
		c.report.due = false // it will be made again, or fails as a wait does
		return engine.Restart()
	}
	return engine.Fail(e)
}

// openFor opens a file that the rules allow.
func (w *worker) openFor(c *call, file *paths.Result, how *openHow) (int, error) {
	if !file.Exists {
		return w.create(c, file, how)
	}
	if err := w.refusal(c, file, how); err != nil {
		return -1, err
	}
	switch {
	case file.Type == unix.S_IFIFO && !how.has(unix.O_NONBLOCK) && how.flags&unix.O_ACCMODE != unix.O_RDWR:
		if how.flags&unix.O_ACCMODE == unix.O_WRONLY {
			if fd, err := w.reopenNow(c, file, how); err != unix.ENXIO {
				return fd, err // somebody reads already
			}
		}
		c.waits = true
		if !c.Hold.MayWait() {
			return -1, errElsewhere
		}
	case file.Type == unix.S_IFCHR && isOwnTerminal(file.FD):
		return w.openTerminal(c, file, how)
	}
	fd, err := w.reopenLeased(c, file, how)
	if err != unix.EACCES || !isOwnProc(c.process, file.Path) || !strings.HasSuffix(file.Path, "/fd") && !w.mayOpen(c, file, how.flags) {
		return fd, err
	}
	// A process may always look at itself; the tracer, which acts for it, only where
	// it is dumpable or the tracer's own rights suffice. (The permission bits of its
	// list of descriptors do not count for itself.)
	reachErr := c.process.Reach(c.TID, func() (err error) {
		fd, err = w.reopen(c, file.FD, how)
		return err
	})
	if reachErr != nil {
		return -1, err
	}
	return fd, nil
}

// refusal is the error of an open of a file that is there, where that can be told
// without opening it.
func (w *worker) refusal(c *call, file *paths.Result, how *openHow) error {
	create := how.has(unix.O_CREAT)
	switch {
	case create && how.has(unix.O_EXCL):
		return unix.EEXIST
	case create && file.Type == unix.S_IFDIR:
		return unix.EISDIR
	case how.has(unix.O_DIRECTORY) && file.Type != unix.S_IFDIR:
		return unix.ENOTDIR
	case file.Type == unix.S_IFLNK: // O_NOFOLLOW
		return unix.ELOOP
	case tellsTracer(file, how) || w.foreignSettings(c, file):
		return unix.EACCES
	case create:
		return w.maySticky(c, file)
	}
	return nil
}

// reopen opens the very file that was resolved: its descriptor says which.
func (w *worker) reopen(c *call, fd int, how *openHow) (int, error) {
	flags := how.flags &^ (unix.O_CREAT | unix.O_NOFOLLOW)
	if !how.has(unix.O_TMPFILE) {
		flags &^= unix.O_EXCL // there it says that the file will not get a name
	}
	mode := uint32(0)
	if how.has(unix.O_TMPFILE) {
		mode = how.modeIn(fd)
	}
	return w.openat(c, w.Paths.Descriptors(), strconv.Itoa(fd), int(flags), mode)
}

// reopenLeased is reopen of a file for which another process may have a lease, until
// which is given up the kernel has an open wait.
func (w *worker) reopenLeased(c *call, file *paths.Result, how *openHow) (int, error) {
	if !w.Can.OneThread || file.Type != unix.S_IFREG || how.has(unix.O_NONBLOCK) {
		return w.reopen(c, file.FD, how)
	}
	fd, err := w.reopenNow(c, file, how)
	if err != unix.EAGAIN {
		return fd, err
	}
	if !c.Hold.MayWait() {
		return -1, errElsewhere
	}
	return w.reopen(c, file.FD, how)
}

// reopenNow is reopen without waiting. The error is that of O_NONBLOCK, which the
// descriptor does not have.
func (w *worker) reopenNow(c *call, file *paths.Result, how *openHow) (int, error) {
	now := *how
	now.flags |= unix.O_NONBLOCK
	fd, err := w.reopen(c, file.FD, &now)
	if err != nil {
		return -1, err
	}
	if _, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, int(how.flags)); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// create makes the file in the directory that was resolved.
func (w *worker) create(c *call, file *paths.Result, how *openHow) (int, error) {
	fd, err := w.openat(c, file.ParentFD, file.Base, int(how.flags|unix.O_EXCL), how.modeIn(file.ParentFD))
	if err == unix.EEXIST && !how.has(unix.O_EXCL) {
		return -1, errAgain
	}
	return fd, err
}

// maySticky says whether an open with O_CREAT of a file that is there is refused in
// a directory that others may write to: fs.protected_regular and
// fs.protected_fifos (proc_sys_fs(5)) depend on the directory, of which the
// descriptor of the file tells nothing. The owner of the directory or of the file
// is not refused.
func (w *worker) maySticky(c *call, file *paths.Result) error {
	if file.Type != unix.S_IFREG && file.Type != unix.S_IFIFO {
		return nil
	}
	dir, _, err := w.Paths.Directory(file)
	if err != nil {
		return nil // the file has no name any more, and so no directory that could matter
	}
	defer unix.Close(dir)
	var st unix.Stat_t
	cred, err := c.process.Credentials(c.TID)
	if err != nil || unix.Fstat(dir, &st) != nil || st.Mode&unix.S_ISVTX == 0 || file.OwnerUID == int(st.Uid) || file.OwnerUID == cred.FSUID {
		return nil // the kernel looks at such directories only
	}
	level := protection(file.Type)
	if level >= 1 && st.Mode&0o002 != 0 || level >= 2 && st.Mode&0o020 != 0 {
		return unix.EACCES
	}
	return nil
}

// protection reads the setting for a kind of file; 0 is none.
func protection(kind uint32) int {
	name := "/proc/sys/fs/protected_regular"
	if kind == unix.S_IFIFO {
		name = "/proc/sys/fs/protected_fifos"
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	level, _ := strconv.Atoi(strings.TrimSpace(string(text))) // the kernel writes a number
	return level
}

// openat opens in the place of the caller: with its rights, which this thread has,
// or the one that is in the caller's Landlock domain.
func (w *worker) openat(c *call, dirfd int, name string, flags int, mode uint32) (fd int, err error) {
	if c.domain == nil {
		return openat(c, dirfd, name, flags, mode)
	}
	// The thread opens for all who are in the domain, and must not wait for others.
	// It does so without waiting; what has to wait does so here, once it may.
	wait := c.waits
	if wait {
		flags |= unix.O_NONBLOCK
	}
	err = c.domain.as(c, func() error {
		fd, err = openat(c, dirfd, name, flags, mode)
		return err
	})
	if !wait || err != nil && err != unix.ENXIO {
		return fd, err
	}
	if err == nil {
		defer unix.Close(fd)
	}
	return openat(c, dirfd, name, flags&^unix.O_NONBLOCK, mode)
}

func openat(c *call, dirfd int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, name, flags|unix.O_CLOEXEC|unix.O_NOCTTY, mode)
		if err != unix.EINTR || c.Hold.Interrupted() {
			return fd, err
		}
	}
}

// modeIn is the mode to make a file with in the directory dir. Without a default
// access list there, the kernel takes the bits of the caller's umask away; the
// tracer's own umask is zero.
func (how *openHow) modeIn(dir int) uint32 {
	if n, err := unix.Getxattr("/proc/self/fd/"+strconv.Itoa(dir), "system.posix_acl_default", nil); err == nil && n > 0 {
		return how.mode
	}
	return how.mode &^ how.umask
}

// isOwnTerminal says whether a device is /dev/tty, which stands for the
// controlling terminal of whoever opens it.
func isOwnTerminal(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Rdev == unix.Mkdev(5, 0)
}

// openTerminal opens the caller's controlling terminal by its own name.
func (w *worker) openTerminal(c *call, file *paths.Result, how *openHow) (int, error) {
	// The tracer's own, or none: that shows whether the caller has the permission.
	switch fd, err := w.reopen(c, file.FD, how); err {
	case nil:
		unix.Close(fd)
	case unix.EACCES, unix.EPERM:
		return -1, err
	}
	tty, err := c.process.CurrentTTY() // it may have been acquired this moment
	if err != nil || tty == "" {
		return -1, unix.ENXIO
	}
	if n, ok := strings.CutPrefix(tty, "pts"); ok {
		tty = "pts/" + n
	}
	return w.openat(c, unix.AT_FDCWD, "/dev/"+tty, int(how.flags&^(unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW)), 0)
}

// tellsTracer says whether a file of the tracer's own directory in procfs tells
// what the kernel would not let the workload see: the tracer, which opens it
// here, may see all of itself. The few that anybody may read are named. None may be
// written: some say who dies first when memory runs out.
func tellsTracer(file *paths.Result, how *openHow) bool {
	if !file.Own || strings.Contains(file.Path, "/net/") {
		return false // the network's files are the same for all
	}
	if how.writes() {
		return true
	}
	name := file.Path[strings.LastIndexByte(file.Path, '/')+1:]
	switch name {
	case "stat", "status", "statm", "cmdline", "comm", "cgroup", "limits", "schedstat", "sched", "loginuid", "sessionid",
		"oom_score", "oom_score_adj", "mountinfo", "mounts", "task", "cpuset", "wchan", "uid_map", "gid_map":
		return false
	}
	_, err := strconv.Atoi(name)
	return err != nil // a directory of a process or a thread can be listed
}

func isOwnProc(p *process.Process, path string) bool {
	return strings.HasPrefix(path, "/proc/"+strconv.Itoa(p.PID())+"/")
}
