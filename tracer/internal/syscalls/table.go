// Package syscalls is the one table of the system calls that the tracer holds:
// name, number on each architecture, operation and where each argument stands.
// It decides nothing; the filter, the handlers and the Data strings of events
// are all derived from it, so that they cannot drift apart.
package syscalls

import (
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
)

// ID names a row of the table, the same on every architecture.
type ID uint8

// The calls of the table.
const (
	Execve ID = iota
	Execveat
	Open
	Creat
	Openat
	Openat2
	Connect
	Chdir
	Fchdir
	Chroot
	Setuid
	Setgid
	Setreuid
	Setregid
	Setresuid
	Setresgid
	Setfsuid
	Setfsgid
	Setgroups
	SetDumpable
	SetTidAddress
	SchedGetaffinity
)

// Absent is the number of a call that an architecture does not have.
const Absent = -1

// None stands for an argument that a call does not have.
const None = -1

// Match limits a row to calls whose argument Arg equals Value: the kernel
// filter compares it, other values never stop.
type Match struct {
	Arg   uint
	Value uint64
}

// Spec is one row: a system call and its arguments' positions (0 to 5, or None).
type Spec struct {
	ID    ID
	Name  string // the kernel's name, as libseccomp knows it
	AMD64 int    // arch/x86/entry/syscalls/syscall_64.tbl
	ARM64 int    // include/uapi/asm-generic/unistd.h
	// Op is what the call can be, as one operation or several; 0 for calls that
	// change facts which are kept about a process, or tell that it has begun to
	// run a program. Those are held while any other call is.
	Op rules.Operation

	Dirfd int // directory that a relative path starts from; None means the working directory
	Path  int // pointer to the path
	Flags int // open(2) flags, execveat's AT_ flags, or openat2's pointer to struct open_how
	Argv  int // pointer to the argument vector
	FD    int // socket
	Addr  int // pointer to a sockaddr; its length follows it
	When  *Match
}

// Table returns every row. The slice is the caller's own.
func Table() []Spec {
	n := func(id ID, name string, amd64, arm64 int, op rules.Operation) Spec {
		return Spec{ID: id, Name: name, AMD64: amd64, ARM64: arm64, Op: op, Dirfd: None, Path: None, Flags: None, Argv: None, FD: None, Addr: None}
	}
	exec := func(s Spec, dirfd, path, argv, flags int) Spec {
		s.Dirfd, s.Path, s.Argv, s.Flags = dirfd, path, argv, flags
		return s
	}
	file := func(s Spec, dirfd, path, flags int) Spec { return exec(s, dirfd, path, None, flags) }
	connect := n(Connect, "connect", 42, 203, rules.Network)
	connect.FD, connect.Addr = 0, 1
	dumpable := n(SetDumpable, "prctl", 157, 167, 0)
	dumpable.When = &Match{Arg: 0, Value: unix.PR_SET_DUMPABLE}
	affinity := n(SchedGetaffinity, "sched_getaffinity", 204, 123, 0)
	affinity.When = &Match{Arg: 0, Value: 0}
	return []Spec{
		exec(n(Execve, "execve", 59, 221, rules.Process), None, 0, 1, None),
		exec(n(Execveat, "execveat", 322, 281, rules.Process), 0, 1, 2, 4),
		file(n(Open, "open", 2, Absent, rules.File), None, 0, 1),
		file(n(Creat, "creat", 85, Absent, rules.File), None, 0, None),
		file(n(Openat, "openat", 257, 56, rules.File), 0, 1, 2),
		file(n(Openat2, "openat2", 437, 437, rules.File), 0, 1, 2),
		connect,
		n(Chdir, "chdir", 80, 49, 0),
		n(Fchdir, "fchdir", 81, 50, 0),
		n(Chroot, "chroot", 161, 51, 0),
		n(Setuid, "setuid", 105, 146, 0),
		n(Setgid, "setgid", 106, 144, 0),
		n(Setreuid, "setreuid", 113, 145, 0),
		n(Setregid, "setregid", 114, 143, 0),
		n(Setresuid, "setresuid", 117, 147, 0),
		n(Setresgid, "setresgid", 119, 149, 0),
		n(Setfsuid, "setfsuid", 122, 151, 0),
		n(Setfsgid, "setfsgid", 123, 152, 0),
		n(Setgroups, "setgroups", 116, 159, 0),
		dumpable,
		// Programs make one of these as they start, and hardly ever again: C
		// libraries the first, the Go runtime the second.
		n(SetTidAddress, "set_tid_address", 218, 96, 0),
		affinity,
	}
}

// Number is the call's number on the architecture that this program runs on,
// or Absent.
func (s *Spec) Number() int {
	if runtime.GOARCH == "arm64" {
		return s.ARM64
	}
	return s.AMD64
}

// Index finds rows by the number that the kernel reports.
type Index struct{ byNumber []*Spec }

// NewIndex indexes specs, for this architecture.
func NewIndex(specs []Spec) Index {
	var ix Index
	for i := range specs {
		nr := specs[i].Number()
		if nr == Absent {
			continue
		}
		for len(ix.byNumber) <= nr {
			ix.byNumber = append(ix.byNumber, nil)
		}
		ix.byNumber[nr] = &specs[i]
	}
	return ix
}

// Lookup gives the row of a number, or nil.
func (ix Index) Lookup(nr int) *Spec {
	if nr < 0 || nr >= len(ix.byNumber) {
		return nil
	}
	return ix.byNumber[nr]
}
