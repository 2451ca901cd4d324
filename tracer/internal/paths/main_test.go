package paths

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/process/processtest"
	"golang.org/x/sys/unix"
)

type command = processtest.Command

func TestMain(m *testing.M) {
	processtest.Main()
	os.Exit(m.Run())
}

// Root without CAP_SYS_PTRACE is what a container is on EKS; root without rights on files is what it is on a network
// file system that squashes root; an ordinary user is what a hardened container is.
func TestWithoutPtraceCapability(t *testing.T) {
	processtest.RunWithout(t, "^Test[^W]", unix.CAP_SYS_PTRACE)
}

func TestWithoutFileCapabilities(t *testing.T) {
	processtest.RunWithout(t, "^TestOnlyTheWorkload|^TestTable", unix.CAP_SYS_PTRACE, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH)
}

func TestWithoutRoot(t *testing.T) { processtest.RunAsUser(t, "^Test[^W]", 1000) }

func TestWithMounts(t *testing.T) {
	if !processtest.MayMount() {
		processtest.RunWithMounts(t, "^TestWithMounts$")
		return
	}
	t.Run("procfs elsewhere", testProcfsElsewhere)
	t.Run("crossing", testCrossingMounts)
}

// rig is a Resolver with a victim.
type rig struct {
	testing.TB
	table     *process.Table
	resolvers map[string]*Resolver
	victim    *processtest.Victim
}

func newRig(tb testing.TB) *rig {
	tb.Helper()
	table, err := process.NewTable(process.Options{FollowCwd: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { table.Close() })
	g := &rig{TB: tb, table: table, resolvers: map[string]*Resolver{}, victim: processtest.Start(tb)}
	for _, how := range []string{"openat2", "walk"} {
		r, err := New()
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { r.Close() })
		if !r.openat2 {
			tb.Fatal("no openat2 here: half of the tests would test nothing")
		}
		r.openat2 = how == "openat2" // "walk" is what a kernel without it gets
		g.resolvers[how] = r
	}
	return g
}

func (g *rig) process(tid int) *process.Process {
	g.Helper()
	p, err := g.table.Get(tid)
	if err != nil {
		g.Fatal(err)
	}
	return p
}

// lookup is one path for both the kernel and the Resolvers.
type lookup struct {
	thread, dirfd int
	path          string
	flags         Flags
}

// resolve resolves with the victim's own rights.
func (g *rig) resolve(r *Resolver, tid int, l lookup) (res Result, err error) {
	p := g.process(tid)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its rights
		var s *process.StandIn
		if s, err = g.table.NewStandIn(); err != nil {
			return
		}
		if err = s.Become(p, tid); err != nil {
			return
		}
		res, err = r.Resolve(p, tid, l.dirfd, l.path, l.flags)
	}()
	<-done
	return res, err
}

// same has the victim open the path and expects every Resolver to find the same file, or the same error. Where the kernel
// begins a lookup anew it counts the links of both attempts: now and then a path of 40 has too many for it.
func (g *rig) same(l lookup) {
	g.Helper()
	var differences []string
	for range 10 {
		var tooMany bool
		if differences, tooMany = g.compare(l); len(differences) == 0 || !tooMany {
			break
		}
	}
	for _, d := range differences {
		g.Error(d)
	}
}

// compare looks a path up once, and says whether for some there were too many links.
func (g *rig) compare(l lookup) (differences []string, tooMany bool) {
	g.Helper()
	flags := uint64(unix.O_PATH | unix.O_CLOEXEC)
	if l.flags&NoFollow != 0 {
		flags |= unix.O_NOFOLLOW
	}
	kernel := g.victim.Try(command{Op: "open", Thread: l.thread, Dir: l.dirfd, Path: l.path, Flags: flags, Resolve: l.flags.resolve()})
	tooMany = kernel.Errno == unix.ELOOP
	var name string
	if kernel.Errno == 0 {
		name = g.nameOf(kernel)
		defer g.victim.Do(command{Op: "close", Thread: l.thread, Dir: kernel.FD})
	}
	for how, r := range g.resolvers {
		for _, more := range []Flags{0, Existing | Remember} {
			l := l
			l.flags |= more
			difference, err := g.agrees(r, l, kernel, name)
			tooMany = tooMany || errors.Is(err, unix.ELOOP)
			if difference != "" {
				differences = append(differences, fmt.Sprintf("%s: %+v: %s", how, l, difference))
			}
		}
		l := l
		l.flags |= Existing | Remember
		if res, ok := r.Recall(g.process(kernel.TID), kernel.TID, l.path, l.flags); ok && (kernel.Errno != 0 || res.Path != name || res.Dev != kernel.Dev || res.Ino != kernel.Ino) {
			differences = append(differences, fmt.Sprintf("%s: %+v: recalled as %+v; the kernel finds %q, %v", how, l, res, name, kernel.Errno))
		}
	}
	return differences, tooMany
}

// agrees compares one lookup with what the kernel found. It gives the difference, and
// the error of the lookup.
func (g *rig) agrees(r *Resolver, l lookup, kernel processtest.Reply, name string) (difference string, err error) {
	g.Helper()
	res, err := g.resolve(r, kernel.TID, l)
	defer func() { res.Close() }() // whatever the error, there is a Result
	switch {
	case kernel.Errno == unix.ENOENT:
		if err == nil && res.Exists || err != nil && !errors.Is(err, unix.ENOENT) {
			difference = fmt.Sprintf("%+v, %v; the kernel finds nothing", res, err)
		}
	case kernel.Errno != 0:
		if !errors.Is(err, kernel.Errno) {
			difference = fmt.Sprintf("%+v, %v; the kernel says %v", res, err, kernel.Errno)
		}
	case err != nil:
		difference = fmt.Sprintf("%v; the kernel finds %s", err, name)
	case !res.Exists || res.Dev != kernel.Dev || res.Ino != kernel.Ino || res.Path != name:
		difference = fmt.Sprintf("%+v; the kernel finds %s (%d, %d)", res, name, kernel.Dev, kernel.Ino)
	}
	return difference, err
}

// nameOf is the name of a file that the victim has open, from the tracer's point of view. Without CAP_SYS_PTRACE the
// victim must be readable.
func (g *rig) nameOf(kernel processtest.Reply) string {
	g.Helper()
	fd, err := g.process(kernel.TID).OpenFD(kernel.TID, kernel.FD)
	if err != nil {
		g.Fatal(err)
	}
	defer unix.Close(fd)
	link, err := os.Readlink("/proc/self/fd/" + itoa(fd))
	if err != nil {
		g.Fatal(err)
	}
	name, _ := process.FileName(link, kernel.Dev, kernel.Ino)
	return name
}

func openFDs(tb testing.TB) int {
	tb.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(entries)
}
