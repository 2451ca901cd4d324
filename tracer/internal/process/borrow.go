package process

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Borrow gives the tracer a descriptor of its own for what the descriptor fd of the thread tid refers to: what is done
// by it is done to the very same open file. tid is held in a system call. The error is EBADF when there is no such
// descriptor, and ErrUnreadable where the tracer may not have it: the container's seccomp profile refuses the call
// where CAP_SYS_PTRACE is missing, and the kernel does for a process of another user.
func (p *Process) Borrow(tid, fd int) (int, error) {
	got := -1
	err := p.Attach(tid, func() (err error) {
		got, err = p.borrow(tid, fd)
		return err
	})
	if refused(err) {
		err = fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if err != nil {
		return -1, fmt.Errorf("borrow descriptor %d of thread %d: %w", fd, tid, err)
	}
	return got, nil
}

// MayBorrow says whether the tracer may have descriptors of a process that it may look
// into: container runtimes' default profiles refuse the call without CAP_SYS_PTRACE, and
// kernels before Linux 5.6 lack it.
func MayBorrow() bool {
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false
	}
	defer unix.Close(pidfd)
	own, err := unix.PidfdGetfd(pidfd, pidfd, 0)
	if err != nil {
		return false
	}
	unix.Close(own)
	return true
}

func (p *Process) borrow(tid, fd int) (int, error) {
	if got, ok, err := p.borrowKnown(tid, fd); ok {
		return got, err
	}
	pidfd, err := unix.PidfdOpen(tid, pidfdThread)
	own := err == nil
	if err == unix.EINVAL { // before Linux 6.9 only a whole process has one: what its first thread has open
		pidfd, err = unix.PidfdOpen(p.pid, 0)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(pidfd)
	got, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil || own || tid == p.pid {
		return got, err
	}
	ours, err := Identify(got, "")
	theirs, theirErr := Identify(p.table.proc, idName(tid, fmt.Sprintf("/fd/%d", fd)))
	if err != nil || theirErr != nil || ours.Ino != theirs.Ino || ours.Dev != theirs.Dev {
		unix.Close(got)
		return -1, unix.EPERM // the thread has a table of its own
	}
	return got, nil
}

// borrowKnown borrows by a pidfd that the table has, of the thread or of the process whose first thread it is. It holds
// the lock: the pidfd could be closed meanwhile, and its number be another's.
func (p *Process) borrowKnown(tid, fd int) (got int, ok bool, err error) {
	t := p.table
	t.mu.Lock()
	defer t.mu.Unlock()
	pidfd := p.pidfd
	if tid != p.pid {
		pidfd = -1
		if th := t.threads[tid]; th != nil && th.proc == p {
			pidfd = th.pidfd
		}
	}
	if pidfd < 0 || p.gone {
		return -1, false, nil
	}
	got, err = unix.PidfdGetfd(pidfd, fd, 0)
	return got, true, err
}

// WriteMemory writes buf into the memory of the process at addr, as far as the first page that is not writable. tid is
// held in a system call. The error is EFAULT when that is not all of it.
func (p *Process) WriteMemory(tid int, addr uint64, buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	err := p.Attach(tid, func() error {
		local := unix.Iovec{Base: &buf[0], Len: uint64(len(buf))}
		remote := unix.RemoteIovec{Base: uintptr(addr), Len: len(buf)}
		n, err := unix.ProcessVMWritev(tid, []unix.Iovec{local}, []unix.RemoteIovec{remote}, 0)
		if err == nil && n < len(buf) {
			err = unix.EFAULT
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("write memory of thread %d at %#x: %w", tid, addr, err)
	}
	return nil
}
