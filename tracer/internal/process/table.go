// Package process keeps one live record per process of the workload: who it is, what it runs, and a way to read its
// memory. It decides nothing and resolves no paths.
package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Errors of this package besides the kernel's own, which are always reachable with errors.Is.
var (
	// ErrGone says that the process ended before it could be looked at.
	ErrGone = errors.New("the process is gone")
	// ErrUnreadable says that the kernel refuses the tracer a look into the process: it changed its user id (or made
	// itself not dumpable), the tracer has no CAP_SYS_PTRACE, and nothing that was kept from before answers.
	ErrUnreadable = errors.New("the process is not readable by the tracer")
)

// Options bound what a Table holds. Zero values choose the defaults.
type Options struct {
	// MaxProcesses bounds the number of records; 0 means 4096. Records that carry state which cannot be read again
	// (an exec under way, kept memory) are held above it, but never more than there are live processes.
	MaxProcesses int
	// MaxFDs bounds the descriptors that are held open; 0 means half of the soft RLIMIT_NOFILE, at most 8192.
	MaxFDs int
	// FollowCwd says that MarkCwd is called before each change of a working directory. Else none is remembered.
	FollowCwd bool
	// FollowIDs says that MarkCredentials is called before each change of ids, of any process whose credentials are
	// asked for, and that all of these descend from one, which has not changed them yet.
	FollowIDs bool
}

// Table finds the record of a thread. It is safe for use from several threads.
type Table struct {
	proc    int // O_PATH descriptor of /proc: what the workload mounts over it later does not matter
	ownPID  int
	own     Credentials
	root    Identity // the tracer's own root directory
	userNS  string   // and its user namespace, as the link in /proc names it
	pidfds  bool     // pidfd_open and pidfd_send_signal work here
	ptracer bool     // the tracer has CAP_SYS_PTRACE: nothing is ever unreadable
	maxProc int
	maxFDs  int
	follow  bool // Options.FollowCwd
	// followIDs is Options.FollowIDs.
	followIDs bool
	buffers   sync.Pool              // *[]byte of scratchSize
	lastCwd   atomic.Pointer[string] // see readCwd

	mu         sync.Mutex
	procs      map[int]*Process // by pid
	threads    map[int]*thread  // by tid; entries may be stale, verify tells
	fds        int              // descriptors held by records
	clock      uint64           // counts Get calls; orders records for eviction
	nextSweep  int              // records at which dead ones are looked for again
	created    int              // records made since the last sweep
	noThreads  bool             // the kernel gives no pidfd of a thread (before Linux 6.9)
	rootsMoved bool             // see MarkRoot
	ids        idsOf
}

const (
	defaultMaxProcesses = 4096
	scratchSize         = 8192
)

// NewTable opens /proc and finds out which of the kernel's means work under this kernel and seccomp profile.
func NewTable(o Options) (*Table, error) {
	t := &Table{
		ownPID:    os.Getpid(),
		maxProc:   o.MaxProcesses,
		maxFDs:    o.MaxFDs,
		follow:    o.FollowCwd,
		followIDs: o.FollowIDs,
		procs:     make(map[int]*Process),
		threads:   make(map[int]*thread),
		buffers:   sync.Pool{New: func() any { b := make([]byte, scratchSize); return &b }},
	}
	if t.maxProc <= 0 {
		t.maxProc = defaultMaxProcesses
	}
	if t.maxFDs <= 0 {
		t.maxFDs = defaultMaxFDs()
	}
	var err error
	if t.proc, err = unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open /proc: %w", err)
	}
	if err := t.probe(); err != nil {
		unix.Close(t.proc)
		return nil, err
	}
	return t, nil
}

// Close gives up all descriptors. No record may be used afterwards.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.procs {
		t.remove(p)
	}
	t.forgetThreads()
	return unix.Close(t.proc)
}

// probe learns about the tracer itself.
func (t *Table) probe() error {
	var err error
	if t.root, err = Identify(unix.AT_FDCWD, "/"); err != nil {
		return fmt.Errorf("identify the root directory: %w", err)
	}
	if t.userNS, err = t.readlink(t.ownPID, "/ns/user"); err != nil {
		return fmt.Errorf("identify the user namespace: %w", err)
	}
	own, err := t.readCredentials(t.ownPID)
	if err != nil {
		return fmt.Errorf("read the tracer's own credentials: %w", err)
	}
	t.own = *own
	t.ptracer = own.CapEff&(1<<unix.CAP_SYS_PTRACE) != 0
	// Older seccomp profiles answer EPERM to calls they do not know, and EPERM from pidfd_send_signal would otherwise
	// mean "alive, but not yours to signal". The tracer may always signal itself, so this tells the two apart.
	if fd, err := unix.PidfdOpen(t.ownPID, 0); err == nil {
		t.pidfds = pidfdSignal(fd) == 0
		unix.Close(fd)
	}
	return nil
}

func defaultMaxFDs() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 256
	}
	return int(min(lim.Cur/2, 2*defaultMaxProcesses))
}

// Get returns the record of the process that tid is a thread of. tid is as a seccomp notification gives it: a thread
// in the tracer's own pid namespace that is held by the kernel while the caller works on it.
//
// A known record costs one system call to be verified: the pidfd says that the process is the one that was recorded.
// A thread that is not the leader, whose number may have been given to another process meanwhile, has a pidfd of its
// own from its second call on; without one, tgkill without a signal says besides that it is one of the process.
func (t *Table) Get(tid int) (*Process, error) {
	if tid <= 0 {
		return nil, fmt.Errorf("thread %d is outside the tracer's pid namespace: %w", tid, ErrGone)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	th := t.threads[tid]
	if th == nil || !t.stillIs(th, tid) {
		var err error
		if th, err = t.discover(tid); err != nil {
			return nil, err
		}
	}
	p := th.proc
	t.touch(p)
	p.tid = tid
	p.settle(tid)
	return p, nil
}

func (t *Table) touch(p *Process) {
	t.clock++
	p.used = t.clock
}

// verify reports whether tid still is a thread of p.
func (t *Table) verify(p *Process, tid int) bool {
	if p.gone {
		return false
	}
	if !t.alive(p) {
		t.remove(p)
		return false
	}
	return tid == p.pid || threadOf(p.pid, tid)
}

// alive reports whether the process of p still exists, as itself and not as another one with the same number.
func (t *Table) alive(p *Process) bool {
	if p.gone {
		return false
	}
	if p.pidfd >= 0 {
		return pidfdSignal(p.pidfd) != unix.ESRCH
	}
	st, err := t.readStat(p.pid)
	return err == nil && st.start == p.start
}

// discover finds the process of a thread that is not cached.
func (t *Table) discover(tid int) (*thread, error) {
	const tries = 3 // the thread is held by the kernel: only its death can make an answer stale
	for range tries {
		p, err := t.record(tid)
		if err != nil {
			return nil, err
		}
		if tid == p.pid || threadOf(p.pid, tid) {
			return t.addThread(tid, p), nil
		}
	}
	return nil, fmt.Errorf("thread %d: %w", tid, ErrGone)
}

// record returns the verified record of the process that tid seems to be a thread of, and makes it if needed.
func (t *Table) record(tid int) (*Process, error) {
	if p := t.procs[tid]; p != nil && t.alive(p) {
		return p, nil // a number is one thread's only, so tid is the leader of that process
	}
	// A pidfd is given for leaders only, and most calls of unknown threads come from leaders: one call instead of a
	// read of /proc/TID/status.
	pid, pidfd := tid, t.openPidfd(tid)
	if pidfd < 0 {
		var err error
		if pid, err = t.threadGroup(tid); err != nil {
			return nil, err
		}
	}
	if p := t.procs[pid]; p != nil {
		if t.alive(p) {
			t.closeFD(pidfd)
			return p, nil
		}
		t.remove(p)
	}
	if pidfd < 0 {
		pidfd = t.openPidfd(pid)
	}
	p := &Process{table: t, pid: pid, tid: pid, pidfd: pidfd}
	if pidfd < 0 {
		st, err := t.readStat(pid)
		if err != nil {
			return nil, err
		}
		p.start = st.start
	}
	t.makeRoom()
	t.procs[pid] = p
	t.created++
	return p, nil
}

// openPidfd returns a pidfd of a thread group leader, or -1. Half of the descriptors is left to kept memory, which
// has no substitute as a pidfd has.
func (t *Table) openPidfd(pid int) int {
	if !t.pidfds {
		return -1
	}
	if t.fds >= t.maxFDs/2 && t.sweepDue(t.maxFDs/4) {
		t.sweep()
	}
	if t.fds >= t.maxFDs/2 {
		return -1
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1
	}
	t.fds++
	return fd
}

// closeFD closes a descriptor that was counted.
func (t *Table) closeFD(fd int) {
	if fd >= 0 {
		unix.Close(fd)
		t.fds--
	}
}

// threadGroup reads the number of the process that tid is a thread of.
func (t *Table) threadGroup(tid int) (int, error) {
	var tgid int
	err := t.readStatus(tid, func(key, value []byte) bool {
		if string(key) != "Tgid" {
			return true
		}
		tgid, _ = strconv.Atoi(string(value))
		return false
	})
	if err != nil {
		return 0, err
	}
	if tgid <= 0 {
		return 0, fmt.Errorf("thread %d has no thread group: %w", tid, ErrGone)
	}
	return tgid, nil
}

// pidfdSignal sends signal 0. poll(2) would do as well but is interrupted by the signals of the Go scheduler.
func pidfdSignal(fd int) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_PIDFD_SEND_SIGNAL, uintptr(fd), 0, 0, 0, 0, 0)
	return errno
}

// IsOwn says whether tid is a thread of the tracer's own.
func IsOwn(tid int) bool { return tid > 0 && threadOf(os.Getpid(), tid) }

// IsAbove says whether a process is the tracer itself or one that the tracer descends from: the workload's orphans fall to
// such, and its own processes are not among them.
func (t *Table) IsAbove(p *Process) bool {
	for pid, depth := t.ownPID, 0; pid > 0 && depth < 64; depth++ {
		if p.pid == pid {
			return true
		}
		st, err := t.readStat(pid)
		if err != nil {
			return false
		}
		pid = st.ppid
	}
	return false
}
