package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sidearmor/sidearmor/tracer/internal/process/processtest"
	"golang.org/x/sys/unix"
)

type command = processtest.Command

func TestFactsOfAProcess(t *testing.T) {
	table := newTable(t, Options{})
	dir := t.TempDir()
	v := processtest.Start(t, func(c *exec.Cmd) { c.Dir = dir })
	p := get(t, table, v.PID)

	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	check(t, "PID", p.PID(), nil, v.PID)
	ppid, err := p.PPID()
	check(t, "PPID", ppid, err, os.Getpid())
	exe, err := p.Exe()
	check(t, "Exe", exe, err, self)
	deleted, err := p.ExeDeleted()
	check(t, "ExeDeleted", deleted, err, false)
	line, err := p.CommandLine()
	check(t, "CommandLine", line, err, self+" victim of a test")
	cwd, err := p.Cwd(v.PID)
	check(t, "Cwd", cwd, err, dir)
	comm, err := p.Comm()
	check(t, "Comm", comm, err, "exe")
	tty, err := p.TTY()
	check(t, "TTY", tty, err, ownTTY(t))
	uid, err := p.UID(v.PID)
	check(t, "UID", uid, err, os.Geteuid())
	same, err := p.SameRoot(v.PID)
	check(t, "SameRoot", same, err, true)
	if start, err := p.StartTime(); err != nil || start == 0 {
		t.Errorf("StartTime = %d, %v", start, err)
	}
	c, err := p.Credentials(v.PID)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(groups)
	slices.Sort(c.Groups)
	if !slices.Equal(c.Groups, groups) || c.RGID != os.Getgid() {
		t.Errorf("groups %v, gid %d; want %v, %d", c.Groups, c.RGID, groups, os.Getgid())
	}
}

func check[T comparable](t *testing.T, what string, got T, err error, want T) {
	t.Helper()
	if err != nil || got != want {
		t.Errorf("%s = %v, %v; want %v", what, got, err, want)
	}
}

func ownTTY(t *testing.T) string {
	t.Helper()
	st, err := newTable(t, Options{}).readStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return ttyName(st.tty)
}

func TestThreadsBelongToTheirProcess(t *testing.T) {
	table := newTable(t, Options{})
	v, w := processtest.Start(t), processtest.Start(t)
	for _, victim := range []*processtest.Victim{v, w} {
		leader := get(t, table, victim.PID)
		for thread := 1; thread < 4; thread++ {
			tid := victim.Do(command{Op: "tid", Thread: thread}).TID
			if tid == victim.PID {
				t.Fatal("the thread is the leader")
			}
			for range 2 { // found, then cached
				if p := get(t, table, tid); p != leader {
					t.Errorf("thread %d: process %d, want %d", tid, p.PID(), victim.PID)
				}
			}
		}
	}
}

// A number that changed hands must be noticed. The kernel cannot be made to reuse one at will, so the table is made to
// believe what it would believe then.
func TestReusedNumbersAreNoticed(t *testing.T) {
	for _, pidfds := range []bool{true, false} {
		table := newTable(t, Options{})
		table.pidfds = table.pidfds && pidfds
		v, w := processtest.Start(t), processtest.Start(t)
		old := get(t, table, v.PID)
		tid := w.Do(command{Op: "tid", Thread: 1}).TID
		right := get(t, table, tid)

		// The thread's number was last seen in another process, which still lives.
		table.threads[tid] = &thread{proc: old, pidfd: -1}
		if p := get(t, table, tid); p != right {
			t.Errorf("pidfds %v: thread %d is taken for one of process %d", pidfds, tid, p.PID())
		}
		// The process's number was last seen on a process that is gone.
		v.Stop()
		gone := &Process{table: table, pid: w.PID, tid: w.PID, pidfd: -1, start: 1}
		if old.pidfd >= 0 {
			fd, err := unix.FcntlInt(uintptr(old.pidfd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			gone.pidfd = fd
		}
		table.procs[w.PID], table.threads[w.PID] = gone, &thread{proc: gone, pidfd: -1}
		if p := get(t, table, w.PID); p == gone {
			t.Errorf("pidfds %v: a dead process is taken for a live one", pidfds)
		}
		if _, err := table.Get(v.PID); !errors.Is(err, ErrGone) {
			t.Errorf("pidfds %v: Get of a dead process: %v, want %v", pidfds, err, ErrGone)
		}
	}
}

func TestGetRefusesWhatIsNoThread(t *testing.T) {
	table := newTable(t, Options{})
	for _, tid := range []int{0, -1, 1 << 30} {
		if p, err := table.Get(tid); !errors.Is(err, ErrGone) {
			t.Errorf("Get(%d) = %v, %v", tid, p, err)
		}
	}
}

func TestParentChangesWhenItDies(t *testing.T) {
	table := newTable(t, Options{})
	v := processtest.Start(t)
	child := v.Do(command{Op: "spawn"}).PID
	p := get(t, table, child)
	parent, err := p.Parent()
	if err != nil || parent != get(t, table, v.PID) {
		t.Fatalf("parent %v, %v; want process %d", parent, err, v.PID)
	}
	again, err := p.Parent()
	if err != nil || again != parent {
		t.Errorf("the parent changed: %v, %v", again, err)
	}
	// The child ends soon after the parent, too, as its standard input ends: what matters is that the dead parent is
	// not named any more.
	v.Stop()
	if ppid, err := p.PPID(); err == nil && ppid == v.PID {
		t.Errorf("PPID is the dead %d", ppid)
	}
}

func TestInitHasNoParent(t *testing.T) {
	table := newTable(t, Options{})
	p := get(t, table, 1)
	for range 2 {
		ppid, err := p.PPID()
		check(t, "PPID of process 1", ppid, err, 0)
	}
}

func TestDescriptorsAreBounded(t *testing.T) {
	const bound = 4
	before := openFDs(t)
	table, err := NewTable(Options{MaxFDs: bound, MaxProcesses: 8})
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	v := processtest.Start(t)
	for range 12 {
		pids = append(pids, v.Do(command{Op: "spawn"}).PID)
	}
	atStart := openFDs(t)
	for range 3 {
		for _, pid := range pids {
			p := get(t, table, pid)
			if p.PID() != pid {
				t.Fatalf("Get(%d) = process %d", pid, p.PID())
			}
		}
	}
	if n := openFDs(t) - atStart; n > bound {
		t.Errorf("%d descriptors are held, want at most %d", n, bound)
	}
	if len(table.procs) > 8 {
		t.Errorf("%d records are held, want at most 8", len(table.procs))
	}
	table.Close()
	v.Stop()
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
}

func TestConcurrentUse(t *testing.T) {
	table := newTable(t, Options{MaxProcesses: 2, MaxFDs: 4}) // evicts all the time
	v := processtest.Start(t)
	addr := place(v, "/etc/passwd\x00")
	pids := []int{v.PID, v.Do(command{Op: "spawn"}).PID, v.Do(command{Op: "spawn"}).PID, os.Getpid()}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 300 {
				p, err := table.Get(pids[(i+worker)%len(pids)])
				if err != nil {
					t.Error(err)
					return
				}
				_, exeErr := p.Exe()
				_, ppidErr := p.PPID()
				p.MarkExec(p.PID())
				if err := errors.Join(exeErr, ppidErr); err != nil {
					t.Error(err)
				}
				if p.PID() == v.PID {
					buf := make([]byte, 11)
					if _, err := p.preadMemory(v.PID, addr, buf); err != nil || string(buf) != "/etc/passwd" {
						t.Errorf("%q, %v", buf, err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestDeletedAndMisleadingPrograms(t *testing.T) {
	dir := t.TempDir()
	v := processtest.Start(t)
	tests := []struct {
		file    string
		remove  bool
		want    string
		deleted bool
	}{
		{"plain", false, "plain", false},
		{"gone", true, "gone", true},
		{"looks (deleted)", false, "looks (deleted)", false},
		{"looks again (deleted)", true, "looks again (deleted)", true},
	}
	for _, tt := range tests {
		table := newTable(t, Options{})
		file := filepath.Join(dir, tt.file)
		v.Do(command{Op: "copy-self", Path: file})
		v.Exec(command{Path: file})
		if tt.remove {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
		p := get(t, table, v.PID)
		exe, err := p.Exe()
		check(t, tt.file, exe, err, filepath.Join(dir, tt.want))
		deleted, err := p.ExeDeleted()
		check(t, tt.file+" deleted", deleted, err, tt.deleted)
	}
}

func TestProgramInMemory(t *testing.T) {
	v := processtest.Start(t)
	fd := v.Do(command{Op: "memfd", Path: "evil"}).FD
	file := "/proc/self/fd/" + itoa(fd)
	v.Do(command{Op: "copy-self", Path: file})
	v.Exec(command{Path: file})
	p := get(t, newTable(t, Options{}), v.PID)
	exe, err := p.Exe()
	check(t, "Exe", exe, err, "memfd:evil")
}

func TestArgumentsAreBounded(t *testing.T) {
	v := processtest.Start(t)
	v.Exec(command{Path: "/proc/self/exe", Args: []string{strings.Repeat("x", 3*maxArgs), "y"}})
	args, err := get(t, newTable(t, Options{}), v.PID).Args()
	if err != nil || len(strings.Join(args, " ")) > maxArgs || len(args) != 2 {
		t.Errorf("%d arguments, %v", len(args), err)
	}
}

func TestTTYNames(t *testing.T) {
	for _, tt := range []struct {
		major, minor uint32
		want         string
	}{
		{0, 0, ""},
		{136, 0, "pts0"},
		{136, 17, "pts17"},
		{137, 1, "pts257"},
		{4, 1, "tty1"},
		{4, 65, "ttyS1"},
		{229, 0, "tty229:0"},
	} {
		if got := ttyName(unix.Mkdev(tt.major, tt.minor)); got != tt.want {
			t.Errorf("%d:%d: %q, want %q", tt.major, tt.minor, got, tt.want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("1 (a) b) (c\n) S " + strings.Repeat("1 ", 60)))
	f.Add([]byte(") 1 ("))
	f.Fuzz(func(t *testing.T, b []byte) {
		if st, err := parseStat(b); err == nil && st.state == 0 {
			t.Errorf("no state in %q", b)
		}
	})
}
