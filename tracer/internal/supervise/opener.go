package supervise

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// opened is the outcome of an open that the tracer made in the caller's place.
type opened struct {
	fd    int
	errno unix.Errno
	// later finds the outcome of an open that waits for somebody else.
	later func(stillHeld func() bool) opened
}

// openFor opens a file that the rules allow in the caller's place, with the
// caller's rights. Between a check of the path in the caller's memory and the
// kernel's own look at it another thread can change it; what the tracer has
// resolved and checked, it opens itself.
//
// One thing differs from the caller's own open: a terminal does not become the
// controlling one by being opened. (The ioctl TIOCSCTTY still makes it that.)
func openFor(c *engine.Call, p *process.Process, file *paths.Result, how openHow) opened {
	switch {
	case !file.Exists:
		return create(c, p, file, how)
	case how.flags&unix.O_CREAT != 0 && how.flags&unix.O_EXCL != 0:
		return opened{errno: unix.EEXIST}
	case how.flags&unix.O_CREAT != 0 && file.Type == unix.S_IFDIR:
		return opened{errno: unix.EISDIR}
	case how.flags&unix.O_DIRECTORY != 0 && file.Type != unix.S_IFDIR:
		return opened{errno: unix.ENOTDIR}
	case file.Type == unix.S_IFLNK: // O_NOFOLLOW
		return opened{errno: unix.ELOOP}
	case tellsTracer(file):
		return opened{errno: unix.EACCES}
	case file.Type == unix.S_IFIFO && how.flags&(unix.O_NONBLOCK|unix.O_RDWR) == 0:
		return openPipe(c, p, file, how)
	case file.Type == unix.S_IFCHR && isOwnTerminal(file.FD):
		return openTerminal(c, p, how)
	}
	o := reopen(c, p, file.FD, how)
	if o.errno == unix.EACCES && isOwnProc(p, file.Path) && mayOpen(c, p, file.FD, how.flags) {
		// A process may always look at itself; the tracer, which acts for it, only
		// where it is dumpable or the tracer's own rights suffice.
		if fd, err := unix.Open(descriptor(file.FD), reopenFlags(how), 0); err == nil {
			return opened{fd: fd}
		}
	}
	return o
}

func descriptor(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func reopenFlags(how openHow) int {
	return int(how.flags)&^(unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW) | unix.O_CLOEXEC | unix.O_NOCTTY
}

// reopen opens the very file that was resolved: its descriptor says which.
func reopen(c *engine.Call, p *process.Process, fd int, how openHow) opened {
	mode := uint32(0)
	if how.flags&unix.O_TMPFILE == unix.O_TMPFILE {
		mode = how.mode &^ umask(c, p)
	}
	return openAs(c, p, onProc(fd), unix.AT_FDCWD, descriptor(fd), reopenFlags(how), mode)
}

// onProc says whether a file is on procfs, where the kernel asks who opens.
func onProc(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) != nil || st.Type == unix.PROC_SUPER_MAGIC
}

// create makes the file in the directory that was resolved. EEXIST says that
// somebody else has made it meanwhile.
func create(c *engine.Call, p *process.Process, file *paths.Result, how openHow) opened {
	flags := int(how.flags) | unix.O_EXCL | unix.O_CLOEXEC | unix.O_NOCTTY
	return openAs(c, p, false, file.ParentFD, file.Base, flags, how.mode&^umask(c, p))
}

func openAs(c *engine.Call, p *process.Process, anywhere bool, dirfd int, name string, flags int, mode uint32) opened {
	o := opened{fd: -1}
	err := p.ActAs(c.TID, anywhere, func() (err error) {
		o.fd, err = unix.Openat(dirfd, name, flags, mode)
		return err
	})
	if err == nil {
		return o
	}
	if !errors.As(err, &o.errno) {
		o.errno = unix.EACCES // the tracer may not act as the caller
	}
	return o
}

// umask is the caller's; the tracer's own is zero.
func umask(c *engine.Call, p *process.Process) uint32 {
	mask, err := p.Umask(c.TID)
	if err != nil {
		return 0o077
	}
	return uint32(mask)
}

// isOwnTerminal says whether a device is /dev/tty, which stands for the
// controlling terminal of whoever opens it.
func isOwnTerminal(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Rdev == unix.Mkdev(5, 0)
}

// openTerminal opens the caller's controlling terminal by its own name.
func openTerminal(c *engine.Call, p *process.Process, how openHow) opened {
	tty, err := p.CurrentTTY() // it may have been acquired this moment
	if err != nil || tty == "" {
		return opened{errno: unix.ENXIO}
	}
	if n, ok := strings.CutPrefix(tty, "pts"); ok {
		tty = "pts/" + n
	}
	how.flags &^= unix.O_CREAT
	return openAs(c, p, false, unix.AT_FDCWD, "/dev/"+tty, reopenFlags(how), 0)
}

// tellsTracer says whether a file of the tracer's own directory in procfs tells
// what the kernel would not let the workload see: the tracer, which opens it
// here, may see all of itself. The few that anybody may read are named.
func tellsTracer(file *paths.Result) bool {
	if !file.Own || strings.Contains(file.Path, "/net/") {
		return false // the network's files are the same for all
	}
	switch file.Path[strings.LastIndexByte(file.Path, '/')+1:] {
	case "stat", "status", "statm", "cmdline", "comm", "cgroup", "limits", "schedstat", "sched", "loginuid", "sessionid",
		"oom_score", "oom_score_adj", "mountinfo", "mounts", "task", "cpuset", "wchan", "uid_map", "gid_map":
		return false
	}
	_, err := strconv.Atoi(file.Path[strings.LastIndexByte(file.Path, '/')+1:])
	return err != nil // a directory of a process or a thread can be listed
}

func isOwnProc(p *process.Process, path string) bool {
	return strings.HasPrefix(path, "/proc/"+strconv.Itoa(p.PID())+"/")
}

// openHow is what an open asks for, whichever call it is made by.
type openHow struct {
	flags, resolve uint64
	mode           uint32
}

// howSize is the size of struct open_how's first version (openat2(2)).
const howSize = 24

func readHow(c *engine.Call, p *process.Process) (openHow, error) {
	switch c.Spec.ID {
	case syscalls.Creat:
		return openHow{flags: unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC, mode: uint32(c.Args[1])}, nil
	case syscalls.Openat2:
		var b [howSize]byte
		if err := p.ReadMemory(c.TID, c.Args[c.Spec.Flags], b[:]); err != nil {
			return openHow{}, err
		}
		return decodeHow(b[:]), nil
	}
	return openHow{flags: uint64(uint32(c.Args[c.Spec.Flags])), mode: uint32(c.Args[c.Spec.Flags+1])}, nil
}
