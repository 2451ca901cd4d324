package paths

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// fast lets the kernel resolve the whole path at once. It gives up, with ok false, wherever the answer could differ
// between the tracer and the workload:
//   - on a magic link of procfs, which names a file of some process without a path;
//   - when the result lies in the tracer's own directory of procfs, since "self" means whoever asks;
//   - on any error that such a link on the way could have caused.
func (r *Resolver) fast(q *request) (res Result, ok bool, err error) {
	start, scope, owned, err := r.fastStart(q)
	if err != nil || start < 0 {
		return none(), err != nil, err
	}
	if owned {
		defer unix.Close(start)
	}
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_MAGICLINKS | scope | q.flags.resolve(),
	}
	if q.flags&NoFollow != 0 {
		how.Flags |= unix.O_NOFOLLOW
	}
	fd, err := openat2(start, q.path, &how)
	if err == unix.ENOENT {
		if q.flags&Existing != 0 && start == r.rootFD && missesInRoot(start, q.path, how) {
			return none(), true, err
		}
		return r.fastMissing(q, start, how)
	}
	if err == unix.EAGAIN && q.flags&Cached != 0 {
		return none(), true, err
	}
	if err != nil {
		return none(), false, nil
	}
	link, err := r.name(fd)
	if errors.Is(err, ErrNoName) {
		link, err = r.fastLongName(start, q.path, how, fd)
	}
	if err != nil || r.own(fd, link) {
		unix.Close(fd)
		return none(), err != nil, err
	}
	res, err = r.describe(fd, link)
	if err == nil && start == r.rootFD {
		r.names.learn(q, &res)
	}
	if err == nil && res.Own && res.Dev != r.procDev {
		res.Close() // whose procfs that is can be seen on the way only
		return none(), false, nil
	}
	return res, true, err
}

// missesInRoot says whether a lookup finds nothing although it does not leave the file system of the root directory: all
// names of the way are there, and none of them is one of procfs, where the tracer is told other things than the workload.
func missesInRoot(root int, path string, how unix.OpenHow) bool {
	how.Resolve |= unix.RESOLVE_NO_XDEV
	fd, err := openat2(root, path, &how)
	if err == nil {
		unix.Close(fd) // it has come meanwhile
	}
	return err == unix.ENOENT
}

// fastLongName is the name of a file that is no directory and whose path is longer than the kernel can tell.
func (r *Resolver) fastLongName(start int, path string, how unix.OpenHow, fd int) (string, error) {
	dir, base := split(path)
	how.Flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	parent, err := openat2(start, dir, &how)
	if err != nil {
		return "", ErrNoName
	}
	defer unix.Close(parent)
	return r.nameIn(parent, base, fd)
}

// fastStart returns the directory to start from and what limits the lookup; -1 when only a walk will do.
func (r *Resolver) fastStart(q *request) (start int, scope uint64, owned bool, err error) {
	switch same, err := q.p.SameRoot(q.tid); {
	case err != nil:
		return -1, 0, false, err
	case q.flags&scoped != 0: // dirfd limits the lookup, whatever the root is
	case same && q.absolute():
		return r.rootFD, 0, false, nil
	case same:
	case q.absolute():
		start, err = q.p.OpenRoot(q.tid)
		return start, unix.RESOLVE_IN_ROOT, true, err
	default: // openat2 cannot be told a root and a start that differ
		return -1, 0, false, nil
	}
	start, err = q.openBase()
	return start, 0, true, err
}

// fastMissing handles ENOENT: is it the final component that is missing, and only because of the name?
func (r *Resolver) fastMissing(q *request, start int, how unix.OpenHow) (res Result, ok bool, err error) {
	dir, base := split(q.path)
	if base == "" || base == "." || base == ".." {
		return none(), false, nil
	}
	how.Flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	fd, err := openat2(start, dir, &how)
	if err != nil {
		return none(), false, nil //nolint:nilerr // what it means for the workload is for the walk to say
	}
	link, err := r.name(fd)
	// A name that is there after all is a symbolic link that leads nowhere, or was made this very moment.
	var buf [1]byte
	if err == nil && !r.own(fd, link) {
		if _, err := unix.Readlinkat(fd, base, buf[:]); err == unix.ENOENT {
			res, err = missing(fd, link, base)
			return res, true, err
		}
	}
	unix.Close(fd)
	return none(), err != nil, err
}

// split cuts the final component from a path; trailing slashes are dropped. dir is never empty.
func split(path string) (dir, base string) {
	path = strings.TrimRight(path, "/")
	i := strings.LastIndexByte(path, '/')
	switch base = path[i+1:]; {
	case i < 0:
		return ".", base
	default:
		return path[:i+1], base
	}
}

// own reports whether a file lies in the tracer's own directory of procfs. Its name then contains the tracer's pid,
// wherever procfs is mounted; other files rarely do, so the file system is seldom asked.
func (r *Resolver) own(fd int, name string) bool {
	for rest := name; ; {
		i := strings.Index(rest, r.ownPID)
		if i < 0 {
			return false
		}
		rest = rest[i+len(r.ownPID):]
		if rest == "" || rest[0] == '/' || rest[0] == ' ' { // ' ': "/proc/7 (deleted)"
			return isProc(fd)
		}
	}
}

// isProc reports whether a file is on procfs; when the kernel does not say, it may be.
func isProc(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) != nil || st.Type == unix.PROC_SUPER_MAGIC
}

// openat2 repeats what the kernel gives up because of a concurrent rename: it answers EAGAIN when it cannot be sure
// that ".." stays inside a scope.
func openat2(dirfd int, path string, how *unix.OpenHow) (int, error) {
	const tries = 4
	for range tries {
		fd, err := unix.Openat2(dirfd, path, how)
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}
