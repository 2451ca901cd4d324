package process

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// directory is what is remembered of a working or root directory.
type directory struct {
	path string
	id   Identity
}

// OpenCwd opens the working directory of the thread tid as the kernel sees it, with O_PATH. When the process is not
// readable any more, it is the directory that KeepMemory saw, unless a chdir was let through since.
func (p *Process) OpenCwd(tid int) (int, error) {
	fd, err := p.openLink(tid, "/cwd")
	if errors.Is(err, ErrUnreadable) {
		return p.reopen("working directory", err, func() *directory {
			if p.chdirs.some() {
				return nil
			}
			return p.cwd
		})
	}
	return fd, err
}

// OpenRoot opens the root directory of the thread tid with O_PATH.
func (p *Process) OpenRoot(tid int) (int, error) {
	fd, err := p.openLink(tid, "/root")
	if errors.Is(err, ErrUnreadable) {
		return p.reopen("root directory", err, func() *directory { return p.root })
	}
	return fd, err
}

// OpenFD opens again, with O_PATH, what the descriptor fd of the thread tid refers to. The error is EBADF when there
// is no such descriptor. When the process is not readable any more, only directories are known that it had open before,
// and that Opened told of since; one that was closed or replaced meanwhile is taken for what it was.
func (p *Process) OpenFD(tid, fd int) (int, error) {
	if fd < 0 {
		return -1, fmt.Errorf("descriptor %d of thread %d: %w", fd, tid, unix.EBADF)
	}
	n, err := p.openLink(tid, "/fd/"+strconv.Itoa(fd))
	if errors.Is(err, ErrUnreadable) {
		p.waitForInstalls()
		return p.reopen("descriptor "+strconv.Itoa(fd), err, func() *directory { return p.dirs[fd] })
	}
	if errors.Is(err, unix.ENOENT) {
		if _, aliveErr := p.table.readStat(tid); aliveErr == nil {
			err = fmt.Errorf("descriptor %d of thread %d: %w", fd, tid, unix.EBADF)
		}
	}
	return n, err
}

// SameRoot reports whether the root directory of the thread tid is the tracer's own.
func (p *Process) SameRoot(tid int) (bool, error) {
	t := p.table
	t.mu.Lock()
	known, moved := p.root, t.rootsMoved
	t.mu.Unlock()
	if known != nil && !moved {
		return known.id == t.root, nil
	}
	var id Identity
	err := p.Reach(tid, func() (err error) {
		id, err = Identify(t.proc, idName(tid, "/root"))
		return err
	})
	if errors.Is(err, ErrUnreadable) && known != nil {
		return known.id == t.root, nil // it has not moved since: that would have been marked
	}
	if err != nil {
		return false, fmt.Errorf("root directory of thread %d: %w", tid, err)
	}
	if !moved {
		t.mu.Lock()
		p.root = &directory{id: id}
		t.mu.Unlock()
	}
	return id == t.root, nil
}

func (p *Process) openLink(tid int, name string) (int, error) {
	fd := -1
	path := idName(tid, name)
	err := p.Reach(tid, func() (err error) {
		if fd, err = unix.Openat(p.table.proc, path, unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			return procError("open", path, err)
		}
		return nil
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// Reach runs f, which looks at what procfs tells of the process, and once more with all means of the tracer when it is
// refused. tid is a thread that is held in a system call. ErrUnreadable says that the tracer has no such means.
func (p *Process) Reach(tid int, f func() error) error {
	err := f()
	if err != nil && refused(err) {
		return p.asOwner(tid, err, f)
	}
	return err
}

// reopen opens a directory that was seen before by its name, and makes sure that it still is the same.
func (p *Process) reopen(what string, cause error, last func() *directory) (int, error) {
	p.table.mu.Lock()
	dir := last()
	p.table.mu.Unlock()
	if dir == nil || !strings.HasPrefix(dir.path, "/") {
		return -1, fmt.Errorf("%s of process %d is not known: %w", what, p.pid, cause)
	}
	fd := -1
	// With the tracer's own rights: whoever has a directory open, or is in it, needs no more to get there.
	own := &p.table.own
	err := p.table.impersonate(own.FSUID, own.FSGID, own.Groups, func() (err error) {
		fd, err = unix.Open(dir.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		// Only as text: an ENOENT of the tracer's own must not look like the kernel's answer to the workload.
		return -1, fmt.Errorf("%s of process %d, last seen as %s (%s): %w", what, p.pid, dir.path, err.Error(), cause)
	}
	id, err := Identify(fd, "")
	if err != nil || id != dir.id {
		unix.Close(fd)
		return -1, fmt.Errorf("%s of process %d is not %s any more: %w", what, p.pid, dir.path, cause)
	}
	return fd, nil
}

func (p *Process) readDirectory(tid int, name string) (*directory, error) {
	dir := new(directory)
	err := p.Reach(tid, func() (err error) {
		if dir.path, err = p.table.readlink(tid, name); err != nil {
			return err
		}
		if dir.id, err = Identify(p.table.proc, idName(tid, name)); err != nil {
			return procError("stat", idName(tid, name), err)
		}
		dir.path, _ = FileName(dir.path, dir.id.Dev, dir.id.Ino)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s of thread %d: %w", strings.TrimPrefix(name, "/"), tid, err)
	}
	return dir, nil
}

func idName(id int, name string) string { return strconv.Itoa(id) + name }
