package process

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Process is the record of one process. Its facts are read from the kernel when they are first asked for and kept
// until a Mark method says that they change. All of it is guarded by the table's lock; nothing that can wait for the
// workload's memory or for a file system happens under that lock.
type Process struct {
	table *Table
	pid   int
	pidfd int    // -1 when there is none: start tells instead
	start uint64 // of the process, in clock ticks since boot; 0 while pidfd >= 0 and nobody asked

	// Guarded by table.mu.
	tid          int    // the thread that called last: the leader may be gone while others run
	pidfdThreads []int  // threads that have a pidfd, the oldest first
	used         uint64 // table.clock at the last Get
	gone         bool
	gen          uint64 // counts invalidations: a fact read before one is not stored after it
	stat         *stat
	exe          *executable
	args         *[]string
	line         *string // CommandLine
	kept         keptSnapshot
	cwd          *directory
	root         *directory
	rulesets     map[int]int        // see KeepRuleset
	confined     any                // see Confine
	dirs         map[int]*directory // open directories, by descriptor; of processes that may become unreadable
	parent       *Process
	forker       string // the program that forked the process; "" until it is known

	// ownUserNS: it was in the tracer's user namespace when that was last looked at, and has not left it since.
	ownUserNS bool
	setfcap   bool // it had CAP_SETFCAP in the tracer's user namespace
	noParent  bool // the parent is outside of the pid namespace; that never changes

	// installs is held for reading while descriptors are installed that the record is to know, see Installing.
	installs sync.RWMutex

	execs   pending // execve calls that were let through, see MarkExec
	chdirs  pending // chdir and fchdir calls that were let through
	stack   uint64  // start of the stack when the first of execs was let through
	credGen uint64

	mem        *memFile
	memSuspect bool // an exec may have replaced the memory that mem shows
	noVMReadv  bool // process_vm_readv was refused for the present image
}

// PID is the process id in the tracer's pid namespace.
func (p *Process) PID() int { return p.pid }

// StartTime is the time of the fork in clock ticks since boot; with the PID it names the process for ever.
func (p *Process) StartTime() (uint64, error) {
	st, err := p.loadStat()
	return st.start, err
}

// Comm is the command name of the process's leader: at most 15 bytes, settable by the workload.
func (p *Process) Comm() (string, error) {
	st, err := p.loadStat()
	return st.comm, err
}

// TTY is the controlling terminal as its driver names it ("pts0"), or "" for none. A terminal that is acquired or
// given up without an exec is noticed at the next exec.
func (p *Process) TTY() (string, error) {
	st, err := p.loadStat()
	return ttyName(st.tty), err
}

// Forker is the program that forked the process, as far as that can be known: a process that has executed nothing since
// runs its forker's image, even if the forker itself has gone. Else it is the program of the parent, which may have
// changed since the fork; "" when the parent is outside of the pid namespace. Once known it is kept.
func (p *Process) Forker() (string, error) {
	st, err := p.loadStat()
	if err != nil {
		return "", err
	}
	p.table.mu.Lock()
	forker := p.forker
	p.table.mu.Unlock()
	if forker != "" {
		return forker, nil
	}
	if st.flags&forkNoExec != 0 {
		forker, err = p.Exe()
	} else if parent, parentErr := p.Parent(); parentErr != nil || parent == nil {
		return "", parentErr
	} else {
		forker, err = parent.Exe()
	}
	if err != nil {
		return "", err
	}
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	p.forker = forker
	return forker, nil
}

// Forked says whether the process runs the image that it was forked with.
func (p *Process) Forked() (bool, error) {
	st, err := p.loadStat()
	return st.flags&forkNoExec != 0, err
}

// CurrentTTY is TTY, read anew.
func (p *Process) CurrentTTY() (string, error) {
	st, err := p.table.readStat(p.pid)
	return ttyName(st.tty), err
}

// PPID is the pid of the parent, 0 when it is outside of the tracer's pid namespace.
func (p *Process) PPID() (int, error) {
	parent, err := p.Parent()
	if err != nil || parent == nil {
		return 0, err
	}
	return parent.pid, nil
}

// ppid is PPID for people to read: what was read anyway since the process made its last call is new enough.
func (p *Process) ppid() int {
	p.table.mu.Lock()
	if st := p.stat; st != nil && st.clock >= p.used {
		defer p.table.mu.Unlock()
		return st.ppid
	}
	p.table.mu.Unlock()
	ppid, _ := p.PPID()
	return ppid
}

// Parent returns the record of the parent process, or nil when the parent is outside of the tracer's pid namespace.
// A process keeps its parent until that ends, so a known one costs one system call.
func (p *Process) Parent() (*Process, error) {
	t := p.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.noParent {
		return nil, nil
	}
	if p.parent != nil && t.alive(p.parent) {
		t.touch(p.parent)
		return p.parent, nil
	}
	p.parent = nil
	return p.findParent()
}

// findParent reads the parent's pid and takes its record.
func (p *Process) findParent() (*Process, error) {
	const tries = 3 // each further one needs a parent that ended within microseconds
	t := p.table
	for range tries {
		st, err := t.readStat(p.pid)
		if err != nil {
			return nil, fmt.Errorf("parent of process %d: %w", p.pid, err)
		}
		if st.ppid == 0 {
			p.noParent = true
			return nil, nil
		}
		known := t.procs[st.ppid] != nil
		parent, err := t.record(st.ppid)
		if err == nil && !known {
			// The number is the parent's only if it still is when the record stands.
			again, err := t.readStat(p.pid)
			if err != nil || again.ppid != st.ppid {
				continue
			}
		}
		switch {
		case err == nil:
			p.parent = parent
			t.touch(parent)
			return parent, nil
		case !errors.Is(err, ErrGone):
			return nil, fmt.Errorf("parent of process %d: %w", p.pid, err)
		}
	}
	return nil, fmt.Errorf("parent of process %d: %w", p.pid, ErrGone)
}

// Signal sends a signal to the process, and to no other that has its number now. The error is ESRCH when it is gone.
func (p *Process) Signal(sig unix.Signal) error {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	if !p.table.alive(p) {
		return unix.ESRCH
	}
	if p.pidfd >= 0 {
		return unix.PidfdSendSignal(p.pidfd, sig, nil, 0)
	}
	return unix.Kill(p.pid, sig)
}

// SignalThread sends a signal to the thread tid, which is held in a system call.
func (p *Process) SignalThread(tid int, sig unix.Signal) error { return unix.Tgkill(p.pid, tid, sig) }
