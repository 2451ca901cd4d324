package process

import (
	"os"
	"reflect"
	"testing"

	"github.com/sidearmor/sidearmor/tracer/internal/process/processtest"
	"golang.org/x/sys/unix"
)

// expectKnown compares what is known without /proc/TID/status with what stands there.
func expectKnown(t *testing.T, table *Table, tid int) {
	t.Helper()
	got := get(t, table, tid).known(tid)
	want, err := table.readCredentials(tid)
	if err != nil {
		t.Fatal(err)
	}
	if got == nil {
		t.Fatal("not known")
	}
	got.NoNewPrivs = want.NoNewPrivs // not among them
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestIDsOfAllAreThoseOfTheFirst(t *testing.T) {
	table := newTable(t, Options{FollowIDs: true})
	first, second := processtest.Start(t), processtest.Start(t)
	if c := get(t, table, second.PID).known(second.PID); c != nil {
		t.Errorf("%+v is known of a process before one was looked at", c)
	}
	if _, err := get(t, table, first.PID).Credentials(first.PID); err != nil {
		t.Fatal(err)
	}
	// Under no_new_privs nothing more is asked for.
	table.ids.fixed = true
	expectKnown(t, table, second.PID)
	// Without it, the kernel is, from Linux 6.13 on.
	table.ids.fixed = false
	table.ids.first.UID, table.ids.first.FSGID = -1, -1
	if p := get(t, table, second.PID); (&Credentials{}).readPidfd(p.pidfd) {
		expectKnown(t, table, second.PID)
	} else if c := p.known(second.PID); c != nil {
		t.Errorf("%+v is known on a kernel that does not tell the ids of a pidfd", c)
	}
}

func TestIDsThatMayHaveChangedAreRead(t *testing.T) {
	processtest.NeedsRoot(t)
	table := newTable(t, Options{FollowIDs: true})
	v, other := processtest.Start(t), processtest.Start(t)
	p := get(t, table, v.PID)
	if _, err := p.Credentials(v.PID); err != nil {
		t.Fatal(err)
	}
	expectKnown(t, table, other.PID)
	changeUID(t, v, p, true)
	for _, pid := range []int{v.PID, other.PID} {
		if c := get(t, table, pid).known(pid); c != nil {
			t.Errorf("%+v is taken to be known", c)
		}
	}
}

// What is never told of is never relied on.
func TestIDsAreReadWhereChangesAreNotFollowed(t *testing.T) {
	table := newTable(t, Options{})
	p := get(t, table, os.Getpid())
	if _, err := p.Credentials(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	if c := p.known(os.Getpid()); c != nil {
		t.Errorf("%+v", c)
	}
}

func TestIDsAreFixedOnlyWhereAnExecChangesNone(t *testing.T) {
	plain := Credentials{RUID: 1, UID: 1, SUID: 1, FSUID: 1, NoNewPrivs: true}
	for name, change := range map[string]func(*Credentials){
		"no_new_privs": func(c *Credentials) { c.NoNewPrivs = false },
		"real":         func(c *Credentials) { c.RUID = 2 },
		"saved":        func(c *Credentials) { c.SUID = 2 },
		"file system":  func(c *Credentials) { c.FSGID = 2 },
	} {
		var s idsOf
		c := plain
		change(&c)
		if s.learn(&c); s.fixed {
			t.Errorf("%s: fixed", name)
		}
	}
	var s idsOf
	if s.learn(&plain); !s.fixed {
		t.Error("not fixed")
	}
	moved := idsOf{moved: true}
	if moved.learn(&plain); moved.first != nil {
		t.Error("learnt from one that may have changed")
	}
}

func TestCapabilitiesOfAnotherThread(t *testing.T) {
	v := processtest.Start(t)
	c := &Credentials{}
	if !c.readCapabilities(v.PID) {
		t.Fatal("not told")
	}
	if c.readCapabilities(1 << 30) {
		t.Error("told of none")
	}
	if _, err := capabilitiesOf(1 << 30); err != unix.ESRCH {
		t.Errorf("%v, want %v", err, unix.ESRCH)
	}
}
