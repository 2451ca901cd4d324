package process

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// memFile is an open /proc/PID/mem. It shows the memory that the process had when it was opened: after an exec it
// shows nothing, or, if the old memory is shared with another process, the wrong thing.
type memFile struct {
	fd    int
	users int // guarded by table.mu; the record is one
}

// KeepMemory prepares for a call of the thread tid after which the process may not be readable any more: the set*id
// family, capset, and prctl(PR_SET_DUMPABLE, 0). It must be called before the kernel is answered. It opens the
// process's memory, which the kernel allows to be read for as long as it is not closed, and reads all other facts
// that need access. A tracer that has CAP_SYS_PTRACE needs none of this and does nothing.
func (p *Process) KeepMemory(tid int) error {
	if p.table.ptracer {
		return nil
	}
	_, exeErr := p.Exe()
	_, cwdErr := p.Cwd(tid)
	_, credErr := p.credentials(tid)
	rootErr := p.learnRoot(tid)
	fdErr := p.learnDirectories(tid)
	m, err := p.acquireMemory(tid)
	if err == nil {
		p.releaseMemory(m)
	}
	if p.Kept() && errors.Is(rootErr, ErrUnreadable) {
		rootErr = nil // it has become unreadable by an earlier call, before which all was learnt
	}
	return errors.Join(err, credErr, exeErr, cwdErr, rootErr, fdErr)
}

func (p *Process) learnRoot(tid int) error {
	dir, err := p.readDirectory(tid, "/root")
	if err != nil {
		return err
	}
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	p.root = dir
	return nil
}

// acquireMemory returns the memory file for one use.
func (p *Process) acquireMemory(tid int) (*memFile, error) {
	t := p.table
	t.mu.Lock()
	if p.mem != nil && !p.memSuspect && !p.execs.some() {
		defer t.mu.Unlock()
		p.mem.users++
		return p.mem, nil
	}
	t.mu.Unlock()

	fd, err := p.openMemory(tid)

	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		return p.oldMemory(err)
	}
	p.dropMemory()
	m := &memFile{fd: fd, users: 1}
	t.fds++
	// Descriptors beyond the bound serve one use. So do those of a record that left the table: nobody would close
	// them. While an exec is under way the file may show the old image or the new one.
	if t.fds <= t.maxFDs && !p.gone && !p.execs.some() {
		m.users++
		p.mem, p.memSuspect = m, false
	}
	return m, nil
}

// oldMemory decides whether the file from before an exec may serve, now that none can be opened. It may only if the
// exec certainly failed. That a process never executed anything since its fork is told to everybody; more is not.
func (p *Process) oldMemory(cause error) (*memFile, error) {
	if p.mem == nil {
		return nil, cause
	}
	st, err := p.table.readStat(p.pid)
	if err != nil {
		return nil, err
	}
	if st.flags&forkNoExec == 0 {
		if !p.execs.some() {
			p.dropMemory()
		}
		return nil, cause
	}
	p.memSuspect = p.execs.some()
	p.mem.users++
	return p.mem, nil
}

func (p *Process) openMemory(tid int) (int, error) {
	fd := -1
	path := idName(tid, "/mem")
	err := p.Reach(tid, func() (err error) {
		if fd, err = unix.Openat(p.table.proc, path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return procError("open", path, err)
		}
		return nil
	})
	if err != nil {
		return -1, fmt.Errorf("memory of thread %d: %w", tid, err)
	}
	return fd, nil
}

func (p *Process) releaseMemory(m *memFile) {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	p.table.unuse(m)
}

// dropMemory gives up the record's use of its memory file. The table's lock is held.
func (p *Process) dropMemory() {
	if p.mem != nil {
		p.table.unuse(p.mem)
		p.mem, p.memSuspect = nil, false
	}
}

func (t *Table) unuse(m *memFile) {
	if m.users--; m.users == 0 {
		t.closeFD(m.fd)
	}
}

// preadMemory reads through the memory file.
func (p *Process) preadMemory(tid int, addr uint64, buf []byte) (int, error) {
	for first := true; ; first = false {
		m, err := p.acquireMemory(tid)
		if err != nil {
			return 0, err
		}
		n, err := unix.Pread(m.fd, buf, int64(addr)) // the kernel takes the offset as unsigned here
		p.releaseMemory(m)
		switch {
		case err == unix.EINTR:
		case err == unix.EIO:
			return 0, unix.EFAULT
		case err != nil:
			return 0, err
		case n > 0 || !first:
			return n, nil
		default: // the memory that the file shows is gone, so there was an exec: open the present one
			p.suspectMemory()
		}
	}
}

func (p *Process) suspectMemory() {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	p.memSuspect = true
}
