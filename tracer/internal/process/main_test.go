package process

import (
	"os"
	"testing"

	"github.com/sidearmor/sidearmor/tracer/internal/process/processtest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	processtest.Main()
	os.Exit(m.Run())
}

// Root without CAP_SYS_PTRACE is what a container is on EKS; an ordinary user is what a hardened one is.
func TestWithoutPtraceCapability(t *testing.T) {
	processtest.RunWithout(t, "^Test[^W]", unix.CAP_SYS_PTRACE)
}

func TestWithoutRoot(t *testing.T) { processtest.RunAsUser(t, "^Test[^W]", 1000) }

func newTable(tb testing.TB, o Options) *Table {
	tb.Helper()
	o.FollowCwd = true
	table, err := NewTable(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { table.Close() })
	return table
}

func get(tb testing.TB, table *Table, tid int) *Process {
	tb.Helper()
	p, err := table.Get(tid)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func openFDs(tb testing.TB) int {
	tb.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(entries)
}

func fsuid() int { return setfsid(unix.SYS_SETFSUID, -1) }
