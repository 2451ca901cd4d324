package process

import "golang.org/x/sys/unix"

// thread is what is known of one thread.
type thread struct {
	proc    *Process
	creds   *Credentials
	credGen uint64 // creds holds while this equals proc.credGen

	pidfd int  // of a thread that is not the leader; -1 where there is none
	asked bool // whether it gets one has been decided
}

// pidfdThread is PIDFD_THREAD (Linux 6.9), which x/sys lacks.
const pidfdThread = unix.O_EXCL

// maxPidfdThreads bounds the threads of a process that have a pidfd: the newest ones do.
const maxPidfdThreads = 32

// stillIs reports whether tid is the thread that th knows. A pidfd of the thread itself tells, as a thread is one of the
// same process for as long as it lives: one that survives an exec which it did not make itself there is not.
func (t *Table) stillIs(th *thread, tid int) bool {
	if th.pidfd >= 0 && !th.proc.gone {
		if pidfdSignal(th.pidfd) != unix.ESRCH {
			return true
		}
		t.closeThread(th)
	}
	if !th.asked && tid != th.proc.pid && !th.proc.gone {
		th.asked = true
		th.pidfd = t.openThread(tid)
	}
	// The pidfd was opened before: of whatever has the number now, this says what it is.
	if !t.verify(th.proc, tid) {
		t.closeThread(th)
		return false
	}
	if th.pidfd >= 0 {
		t.keepThread(th.proc, tid)
	}
	return true
}

// openThread returns a pidfd of a thread, or -1. Those of processes go first.
func (t *Table) openThread(tid int) int {
	if !t.pidfds || t.noThreads || t.fds >= t.maxFDs/4 {
		return -1
	}
	fd, err := unix.PidfdOpen(tid, pidfdThread)
	if err != nil {
		t.noThreads = err == unix.EINVAL
		return -1
	}
	t.fds++
	return fd
}

// keepThread takes down that a thread of p has a pidfd, and takes that of another where there are many.
func (t *Table) keepThread(p *Process, tid int) {
	if len(p.pidfdThreads) >= maxPidfdThreads {
		if old := t.threads[p.pidfdThreads[0]]; old != nil && old.proc == p {
			t.closeThread(old)
		}
		p.pidfdThreads = append(p.pidfdThreads[:0], p.pidfdThreads[1:]...)
	}
	p.pidfdThreads = append(p.pidfdThreads, tid)
}

// dropThreads closes the pidfds of the threads of p.
func (t *Table) dropThreads(p *Process) {
	for _, tid := range p.pidfdThreads {
		if th := t.threads[tid]; th != nil && th.proc == p {
			t.closeThread(th)
		}
	}
	p.pidfdThreads = nil
}

func (t *Table) closeThread(th *thread) {
	t.closeFD(th.pidfd)
	th.pidfd = -1
}

func (t *Table) addThread(tid int, p *Process) *thread {
	if len(t.threads) >= 2*t.maxProc {
		t.forgetThreads() // only a cache: what is in use comes back at its next call
	}
	if old := t.threads[tid]; old != nil {
		t.closeThread(old)
	}
	th := &thread{proc: p, pidfd: -1}
	t.threads[tid] = th
	return th
}

func (t *Table) forgetThreads() {
	for _, th := range t.threads {
		t.closeThread(th)
	}
	clear(t.threads)
}

// threadOf reports whether tid is a thread of the process pid. Signal 0 delivers nothing; EPERM says that it exists.
func threadOf(pid, tid int) bool {
	_, _, errno := unix.RawSyscall(unix.SYS_TGKILL, uintptr(pid), uintptr(tid), 0)
	return errno != unix.ESRCH
}
