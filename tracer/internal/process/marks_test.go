package process

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sidearmor/sidearmor/tracer/internal/process/processtest"
)

func itoa(n int) string { return strconv.Itoa(n) }

// execCase says which thread makes the exec and which one calls next.
type execCase struct {
	name         string
	execThread   int
	callerBefore int  // calls after the mark, before the exec; 0 for none, since the leader's call is the exec itself
	succeed      bool // else the exec fails
	callerAfter  int
	settled      bool // the wait is over after that call
}

func TestFactsFollowAnExec(t *testing.T) {
	for _, tt := range []execCase{
		{"leader executes, leader calls", 0, 0, true, 0, true},
		{"leader executes, another calls first", 0, 1, true, 0, true},
		{"leader executes, a new thread calls", 0, 0, true, 1, true},
		{"leader executes, another calls before, a new one after", 0, 1, true, 1, true},
		{"thread executes, leader calls", 1, 0, true, 0, true},
		{"thread executes, another calls before, a new one after", 1, 2, true, 1, true},
		{"leader fails, leader calls", 0, 0, false, 0, true},
		{"leader fails, another calls", 0, 0, false, 1, false},
		{"thread fails, the same calls", 1, 0, false, 1, true},
		{"thread fails, leader calls", 1, 0, false, 0, false},
		{"thread fails and ends, leader calls", 1, 0, false, -1, true},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t) })
	}
}

func (tt execCase) run(t *testing.T) {
	table := newTable(t, Options{})
	dir := t.TempDir()
	v := processtest.Start(t)
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	for _, file := range []string{first, second} {
		v.Do(command{Op: "copy-self", Path: file})
	}
	v.Exec(command{Path: first})
	want := first
	expectExe := func(p *Process, when string) {
		t.Helper()
		exe, err := p.Exe()
		check(t, "program "+when, exe, err, want)
	}
	tid := v.Do(command{Op: "tid", Thread: tt.execThread}).TID
	p := get(t, table, tid)
	expectExe(p, "before")
	p.MarkExec(tid)
	if tt.callerBefore > 0 {
		p = get(t, table, v.Do(command{Op: "tid", Thread: tt.callerBefore}).TID)
		expectExe(p, "while the exec is under way")
	}
	if tt.succeed {
		v.Exec(command{Thread: tt.execThread, Path: second})
		want = second
		expectExe(p, "for an onlooker, before the next call")
	} else if r := v.Try(command{Op: "exec", Thread: tt.execThread, Path: dir}); r.Errno == 0 {
		t.Fatal("a directory was executed")
	}
	caller := tt.callerAfter
	if caller < 0 {
		v.Do(command{Op: "exit-thread", Thread: tt.execThread})
		waitThreadGone(t, v.PID, tid)
		caller = 0
	}
	p = get(t, table, v.Do(command{Op: "tid", Thread: caller}).TID)
	expectExe(p, "after")
	if p.execs.some() == tt.settled {
		t.Errorf("the exec is under way: %v, want %v", p.execs.some(), !tt.settled)
	}
}

func waitThreadGone(t *testing.T, pid, tid int) {
	t.Helper()
	for threadOf(pid, tid) { // it has ended as far as the process is concerned; the kernel needs a moment
		if t.Context().Err() != nil {
			return
		}
	}
}

// A program that makes no held call tells nothing of the exec that began it.
func TestQuietProgramsDoNotFillTheTable(t *testing.T) {
	const bound = 4
	table := newTable(t, Options{MaxProcesses: bound})
	for range 2 * bound {
		v := processtest.Start(t)
		p := get(t, table, v.PID)
		p.MarkExec(v.PID)
		v.Exec(command{Path: "/proc/self/exe"})
	}
	if n := len(table.procs); n > bound {
		t.Errorf("%d records are held, want at most %d", n, bound)
	}
}

func TestCwdFollowsChdir(t *testing.T) {
	table := newTable(t, Options{})
	a, b := t.TempDir(), t.TempDir()
	v := processtest.Start(t)
	v.Do(command{Op: "chdir", Path: a})
	tid := v.Do(command{Op: "tid", Thread: 1}).TID
	p := get(t, table, tid)
	expect := func(want string) {
		t.Helper()
		cwd, err := p.Cwd(tid)
		check(t, "Cwd", cwd, err, want)
	}
	expect(a)
	p.MarkCwd(tid)
	get(t, table, v.PID) // another thread calls before the chdir takes effect
	expect(a)
	v.Do(command{Op: "chdir", Path: b, Thread: 1})
	expect(b)
	get(t, table, tid)
	expect(b)
	if p.chdirs.some() {
		t.Error("the chdir is still under way")
	}
}

func TestRootFollowsChroot(t *testing.T) {
	processtest.NeedsRoot(t)
	table := newTable(t, Options{})
	v := processtest.Start(t)
	p := get(t, table, v.PID)
	same, err := p.SameRoot(v.PID)
	check(t, "SameRoot before", same, err, true)
	p.MarkRoot()
	v.Do(command{Op: "chroot", Path: t.TempDir()})
	same, err = p.SameRoot(v.PID)
	check(t, "SameRoot after", same, err, false)
}

func TestCredentialsFollowTheirThread(t *testing.T) {
	processtest.NeedsRoot(t)
	table := newTable(t, Options{})
	v := processtest.Start(t)
	tid := v.Do(command{Op: "tid", Thread: 1}).TID
	p := get(t, table, tid)
	expect := func(tid, want int) {
		t.Helper()
		get(t, table, tid)
		uid, err := p.UID(tid)
		check(t, "UID of "+itoa(tid), uid, err, want)
	}
	expect(tid, 0)
	expect(v.PID, 0)
	p.MarkCredentials()
	v.Do(command{Op: "setuid-thread", Thread: 1, UID: 1000})
	expect(tid, 1000)
	expect(v.PID, 0)
}

// A mark that is set on an evicted record must not be lost: the facts would be stale for ever.
func TestMarksSurviveEviction(t *testing.T) {
	table := newTable(t, Options{})
	v := processtest.Start(t)
	evict := func(p *Process) {
		table.mu.Lock()
		defer table.mu.Unlock()
		table.remove(p)
	}
	p := get(t, table, v.PID)
	evict(p)
	p.MarkExec(v.PID)
	if got := get(t, table, v.PID); got != p {
		t.Error("the marked record is not in the table")
	}
	evict(p)
	replaced := get(t, table, v.PID)
	if _, err := replaced.Exe(); err != nil {
		t.Fatal(err)
	}
	p.MarkExec(v.PID)
	if !replaced.execs.some() {
		t.Error("the record that replaced the marked one is not marked")
	}
}
