// Package paths finds the file that the kernel means when a process of the workload names one. It does not judge the
// file, nor open it for use.
package paths

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"golang.org/x/sys/unix"
)

// Resolver resolves path names. It is safe for use from several threads.
type Resolver struct {
	procDev uint64 // the tracer's own procfs
	selfFD  int    // O_PATH descriptor of /proc/self/fd, which names the tracer's own descriptors
	rootFD  int    // O_PATH descriptor of the tracer's root directory
	ownPID  string // the tracer's own directory in procfs
	openat2 bool   // the kernel has it and the seccomp profile allows it
	buffers sync.Pool
	names   names
}

// Limits of the kernel's path lookup.
const (
	pathMax     = 4096 // with the NUL
	maxSymlinks = 40
)

// New prepares a Resolver and finds out whether openat2 may be used.
func New() (*Resolver, error) {
	selfFD, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /proc/self/fd: %w", err)
	}
	rootFD, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(selfFD)
		return nil, fmt.Errorf("open the root directory: %w", err)
	}
	var proc unix.Stat_t
	if err := unix.Fstat(selfFD, &proc); err != nil {
		unix.Close(selfFD)
		unix.Close(rootFD)
		return nil, fmt.Errorf("stat /proc/self/fd: %w", err)
	}
	r := &Resolver{
		procDev: proc.Dev,
		selfFD:  selfFD,
		rootFD:  rootFD,
		ownPID:  "/" + strconv.Itoa(os.Getpid()),
		buffers: sync.Pool{New: func() any { b := make([]byte, pathMax+1); return &b }},
	}
	// Kernels before 5.6 answer ENOSYS, seccomp profiles that do not know the call EPERM. Anything but success means
	// that paths are walked.
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if fd, err := unix.Openat2(rootFD, ".", &how); err == nil {
		unix.Close(fd)
		r.openat2 = true
	}
	return r, nil
}

// Descriptors is an open directory in which each descriptor of the tracer's has its number as name. Opening a name there
// opens the file again.
func (r *Resolver) Descriptors() int { return r.selfFD }

// Directory opens the directory of a file that was found, with O_PATH, and tells the file's name in it. It fails for
// files that have no name.
func (r *Resolver) Directory(file *Result) (fd int, base string, err error) {
	if !file.Exists || file.Deleted || !strings.HasPrefix(file.Path, "/") || file.Path == "/" {
		return -1, "", unix.ENOENT
	}
	dir, base := split(file.Path)
	fd, err = unix.Openat(r.rootFD, strings.TrimLeft(dir, "/")+".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return fd, base, err
}

// Close gives up the Resolver's descriptors.
func (r *Resolver) Close() error {
	unix.Close(r.selfFD)
	return unix.Close(r.rootFD)
}

// request is one call of Resolve.
type request struct {
	p     *process.Process
	tid   int
	dirfd int
	path  string
	flags Flags
}

func (q *request) absolute() bool { return strings.HasPrefix(q.path, "/") }

// Resolve returns the file that the kernel finds for the thread tid of p when it passes dirfd (sign-extended,
// unix.AT_FDCWD for the working directory) and path to a call whose flags mean f. The thread must be held in a call.
// Names are looked up with the rights that this OS thread has: with those of tid, see process.StandIn, it finds what tid
// would find, and what tid may not reach is EACCES.
//
// A missing final component is no error unless f has Existing: see Result.Exists. Any other failure of the lookup is the kernel's own
// answer, to be found with errors.Is: ENOENT for a missing directory, ENOTDIR, ELOOP, ENAMETOOLONG, EBADF, EXDEV,
// EACCES. process.ErrUnreadable says that the tracer cannot know what the kernel sees, process.ErrGone that the
// process ended, and ErrNoName that the file is there but cannot be named.
//
// Procfs is that of the thread's own pid namespace or of one above it.
func (r *Resolver) Resolve(p *process.Process, tid, dirfd int, path string, f Flags) (Result, error) {
	q := request{p: p, tid: tid, dirfd: dirfd, path: path, flags: f}
	res, err := r.resolve(&q)
	if err != nil {
		return none(), &Error{PID: p.PID(), Path: path, Err: err}
	}
	return res, nil
}

func (r *Resolver) resolve(q *request) (Result, error) {
	switch {
	case len(q.path) >= pathMax:
		return none(), unix.ENAMETOOLONG
	case strings.IndexByte(q.path, 0) >= 0:
		return none(), unix.EINVAL // cannot come from a NUL-terminated string
	case q.path == "" && q.flags&EmptyPath == 0:
		return none(), unix.ENOENT
	case q.path == "":
		fd, err := q.openBase()
		if err != nil {
			return none(), err
		}
		return r.found(fd)
	case q.flags&Beneath != 0 && q.absolute():
		return none(), unix.EXDEV
	}
	if r.openat2 && !q.plainlySelf() && !(q.flags&Create != 0 && strings.HasSuffix(q.path, "/")) {
		if res, ok, err := r.fast(q); ok {
			return res, err
		}
	}
	return r.walk(q)
}

// plainlySelf spares a try that is bound to end in the tracer's own directory of procfs.
func (q *request) plainlySelf() bool {
	return strings.HasPrefix(q.path, "/proc/self") || strings.HasPrefix(q.path, "/proc/thread-self")
}

// openBase opens the directory where a relative path starts.
func (q *request) openBase() (int, error) {
	if q.dirfd == unix.AT_FDCWD {
		return q.p.OpenCwd(q.tid)
	}
	return q.p.OpenFD(q.tid, q.dirfd)
}

// name is the path of an open file as the kernel tells it, as seen from the tracer's root directory.
func (r *Resolver) name(fd int) (string, error) {
	buf := r.buffers.Get().(*[]byte)
	defer r.buffers.Put(buf)
	n, errno := ownLink(r.selfFD, fd, *buf)
	if errno == unix.ENAMETOOLONG {
		return r.longName(fd)
	}
	if errno != 0 {
		return "", fmt.Errorf("read the name behind a descriptor: %w", errno)
	}
	return string((*buf)[:n]), nil
}

// ownLink reads the name behind a descriptor of the tracer's. It waits for nobody, so that Go's scheduler need not be
// told.
func ownLink(selfFD, fd int, buf []byte) (int, unix.Errno) {
	var name [24]byte
	strconv.AppendInt(name[:0], int64(fd), 10)
	n, _, errno := unix.RawSyscall6(unix.SYS_READLINKAT, uintptr(selfFD), uintptr(unsafe.Pointer(&name[0])),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0)
	return int(n), errno
}

// elided stands in a name for directories that the kernel cannot tell.
const elided = "/…"

// maxClimb bounds the directories that are climbed in search of a name.
const maxClimb = 4096

// longName is the name of a directory whose path is longer than the kernel can tell: that of the nearest one above it
// whose path is not, with elided behind it. Rules about directories above match it as they should; no rule can be about
// more of it. Of other files it is ErrNoName.
func (r *Resolver) longName(fd int) (string, error) {
	buf := r.buffers.Get().(*[]byte)
	defer r.buffers.Put(buf)
	cur, err := open(fd, "..", unix.O_DIRECTORY)
	for range maxClimb {
		if err != nil {
			return "", ErrNoName // as such it would read as the kernel's answer to the workload
		}
		n, nameErr := unix.Readlinkat(r.selfFD, strconv.Itoa(cur), *buf)
		if nameErr == nil {
			unix.Close(cur)
			return strings.TrimSuffix(string((*buf)[:n]), "/") + elided, nil
		}
		up, upErr := open(cur, "..", unix.O_DIRECTORY)
		unix.Close(cur)
		cur, err = up, upErr
	}
	unix.Close(cur)
	return "", ErrNoName
}

// nameIn is the name of the file fd, found as base in the directory dir (the tracer's own, AT_FDCWD excluded), where
// the kernel cannot tell it.
func (r *Resolver) nameIn(dir int, base string, fd int) (string, error) {
	there, err := open(dir, base, unix.O_NOFOLLOW)
	if err != nil {
		return "", ErrNoName
	}
	defer unix.Close(there)
	var a, b unix.Stat_t
	if unix.Fstat(there, &a) != nil || unix.Fstat(fd, &b) != nil || a.Dev != b.Dev || a.Ino != b.Ino {
		return "", ErrNoName // a symbolic link led elsewhere
	}
	name, err := r.name(dir)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(name, "/") + "/" + base, nil
}

// found makes the Result for an open file and takes over its descriptor.
func (r *Resolver) found(fd int) (Result, error) {
	link, err := r.name(fd)
	if err != nil {
		unix.Close(fd)
		return none(), err
	}
	return r.describe(fd, link)
}

// describe is found for a file whose name is known already.
func (r *Resolver) describe(fd int, link string) (Result, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return none(), fmt.Errorf("stat: %w", err)
	}
	res := Result{
		FD: fd, ParentFD: -1, Exists: true,
		Type: st.Mode & unix.S_IFMT, Mode: st.Mode, OwnerUID: int(st.Uid), OwnerGID: int(st.Gid), Dev: st.Dev, Ino: st.Ino,
	}
	res.Path, res.Deleted = process.FileName(link, st.Dev, st.Ino)
	res.Own = r.isOwn(fd, link)
	return res, nil
}

// missing makes the Result for a name that does not exist in an open directory and takes over its descriptor.
func missing(parentFD int, link, base string) (Result, error) {
	var st unix.Stat_t
	if err := unix.Fstat(parentFD, &st); err != nil {
		unix.Close(parentFD)
		return none(), fmt.Errorf("stat: %w", err)
	}
	res := Result{FD: -1, ParentFD: parentFD, Base: base}
	res.Parent, res.Deleted = process.FileName(link, st.Dev, st.Ino)
	res.Path = strings.TrimSuffix(res.Parent, "/") + "/" + base
	return res, nil
}
