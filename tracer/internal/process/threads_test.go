package process

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/process/processtest"
)

// threadPidfds says whether the kernel gives pidfds of threads: from Linux 6.9 on.
func threadPidfds(table *Table) bool {
	fd, err := unix.PidfdOpen(unix.Gettid(), pidfdThread)
	if err != nil || !table.pidfds {
		return false
	}
	unix.Close(fd)
	return true
}

// A thread that calls again is known by a pidfd of its own, with which its descriptors are borrowed. When it has ended
// its number is nobody's.
func TestThreadsAreFollowed(t *testing.T) {
	table := newTable(t, Options{})
	v := processtest.Start(t)
	tid := v.Do(command{Op: "tid", Thread: 1}).TID
	p := get(t, table, tid)
	if th := table.threads[tid]; th.pidfd >= 0 {
		t.Error("a thread that called once has a pidfd")
	}
	for range 3 {
		if again := get(t, table, tid); again != p {
			t.Fatalf("thread %d is one of process %d, was of %d", tid, again.PID(), p.PID())
		}
	}
	if th := table.threads[tid]; (th.pidfd >= 0) != threadPidfds(table) {
		t.Errorf("a thread that calls again has the pidfd %d", th.pidfd)
	}
	sock := v.Do(command{Op: "socket", Thread: 1})
	fd, err := p.Borrow(tid, sock.FD)
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		t.Errorf("mode %o, %v: a socket was to be borrowed", st.Mode, err)
	}
	unix.Close(fd)
	if _, err := p.Borrow(tid, 9999); !errors.Is(err, unix.EBADF) {
		t.Errorf("a descriptor that is not there: %v, want %v", err, unix.EBADF)
	}
	v.Do(command{Op: "exit-thread", Thread: 1})
	deadline := time.Now().Add(time.Minute)
	for threadOf(v.PID, tid) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if _, err := table.Get(tid); !errors.Is(err, ErrGone) {
		t.Errorf("Get of a thread that has ended: %v, want %v", err, ErrGone)
	}
}

// The descriptors of threads are bounded, and go with the record of their process.
func TestThreadPidfdsAreBounded(t *testing.T) {
	table := newTable(t, Options{})
	v := processtest.Start(t)
	before := openFDs(t)
	want := 1 // of the process
	if threadPidfds(table) {
		want += maxPidfdThreads
	}
	for thread := 1; thread <= 2*maxPidfdThreads; thread++ {
		tid := v.Do(command{Op: "tid", Thread: thread}).TID
		for range 2 {
			get(t, table, tid)
		}
	}
	p := get(t, table, v.PID)
	if n := openFDs(t) - before; n != want || table.fds != n {
		t.Errorf("%d descriptors are held, %d counted, want %d", n, table.fds, want)
	}
	table.mu.Lock()
	table.remove(p)
	table.mu.Unlock()
	if n := openFDs(t) - before; n != 0 || table.fds != 0 {
		t.Errorf("%d descriptors are left, %d counted", n, table.fds)
	}
}

// What a snapshot tells follows what it was taken of.
func TestSnapshotIsKept(t *testing.T) {
	table := newTable(t, Options{})
	v := processtest.Start(t)
	child := v.Do(command{Op: "spawn"}).PID
	p := get(t, table, child)
	first := p.Snapshot(true)
	if first.PID != child || first.PPID != v.PID || first.Parent == "" || first.Exe == "" || first.Comm == "" {
		t.Errorf("%+v", first)
	}
	if again := p.Snapshot(true); again != first {
		t.Errorf("taken again: %+v", again)
	}
	p.MarkExec(child)
	if again := p.Snapshot(true); again == first {
		t.Error("kept while the process may run another program")
	}
	get(t, table, child) // the exec has failed
	p.Snapshot(true)
	parent := get(t, table, v.PID)
	parent.MarkExec(v.PID)
	before := p.Snapshot(true)
	if again := p.Snapshot(true); again == before {
		t.Error("kept while the parent may run another program")
	}
	v.Stop()
	if s := p.Snapshot(true); s.PPID == v.PID {
		t.Errorf("the parent is the dead %d", s.PPID)
	}
}
