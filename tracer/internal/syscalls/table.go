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
	Unlink
	Unlinkat
	Rmdir
	Rename
	Renameat
	Renameat2
	Link
	Linkat
	Symlink
	Symlinkat
	Mkdir
	Mkdirat
	Mknod
	Mknodat
	Truncate
	Chmod
	Fchmod
	Fchmodat
	Fchmodat2
	Chown
	Lchown
	Fchown
	Fchownat
	Utime
	Utimes
	Futimesat
	Utimensat
	Setxattr
	Lsetxattr
	Fsetxattr
	Removexattr
	Lremovexattr
	Fremovexattr
	Connect
	Bind
	Listen
	Accept
	Accept4
	Socket
	Sendto
	Sendmsg
	Sendmmsg
	Write
	Writev
	Getsockopt
	Chdir
	Fchdir
	LandlockCreateRuleset
	LandlockRestrictSelf
	SetTidAddress
	SchedGetaffinity
	Prlimit64
	Setpriority
	IoprioSet
	SchedSetparam
	SchedSetscheduler
	SchedSetaffinity
	SchedSetattr
	Chroot
	PivotRoot
	Unshare
	Setns
	Setuid
	Setgid
	Setreuid
	Setregid
	Setresuid
	Setresgid
	Setfsuid
	Setfsgid
	Setgroups
	Capset
	Prctl
	Ptrace
	ProcessVMWritev
	Clone
	NameToHandleAt
	Mount
	Umount2
	Keyctl
	AddKey
	RequestKey
	Bpf
	PerfEventOpen
	MemfdCreate
	InitModule
	FinitModule
	DeleteModule
	KexecLoad
	KexecFileLoad
	Reboot
	Swapon
	Swapoff
	Sethostname
	Setdomainname
	Settimeofday
	ClockSettime
	Acct
	Iopl
	Ioperm
	IOUringSetup
	Userfaultfd
	OpenByHandleAt
	PidfdGetfd
	Fsopen
	Fspick
	OpenTree
	MoveMount
	MountSetattr
	Kill
	Tkill
	Tgkill
	RtSigqueueinfo
	RtTgsigqueueinfo
	Mmap
	Mprotect
	PkeyMprotect

	Count // of rows
)

// Absent is the number of a call that an architecture does not have.
const Absent = -1

// None stands for an argument that a call does not have.
const None = -1

// All is the mask of an argument that counts as a whole. Int is the mask of one
// that the kernel takes as int or unsigned int: it does not look at the upper
// half of the register, where a caller may put anything.
const (
	All = ^uint64(0)
	Int = uint64(0xffffffff)
)

// Match is a comparison of an argument that the kernel's filter makes: the bits
// of Mask are those of Value; with Not, which takes the mask All, they are not, and with
// Least, which does as well, they are not less.
type Match struct {
	Arg   uint
	Mask  uint64
	Value uint64
	Not   bool
	Least bool
}

// Condition is true when all its comparisons are.
type Condition []Match

// Spec is one row: a system call and its arguments' positions (0 to 5, or None).
type Spec struct {
	ID    ID
	Name  string // the kernel's name, as libseccomp knows it
	AMD64 int    // arch/x86/entry/syscalls/syscall_64.tbl
	ARM64 int    // include/uapi/asm-generic/unistd.h
	// Op is what the call can be, as one operation or several; 0 for calls that
	// change facts which are kept about a process, tell that it has begun to run
	// a program, or may be aimed at the tracer. Those are held while any other
	// call is.
	Op rules.Operation
	// State says the same of a call that is an operation as well.
	State bool
	// Refuse is what every workload gets for the call: where it is not held, from the
	// filter.
	Refuse unix.Errno
	// Capability is the one that the call wants: a CAP_ number, or None.
	Capability int

	Dirfd int // directory that a relative path starts from; None means the working directory
	Path  int // pointer to the path
	Flags int // open(2) flags, AT_ flags, RENAME_ flags, send's MSG_ flags, or openat2's pointer to struct open_how
	Argv  int // pointer to the argument vector
	FD    int // socket, or the file of fchmod and fchown
	Addr  int // pointer to a sockaddr; its length follows it
	Msg   int // pointer to a struct msghdr, or to an array of struct mmsghdr whose length follows it

	// Of a call that gives a file another name: the same as Dirfd and Path.
	NewDirfd int
	NewPath  int
	Mode     int // mode_t of a file that is made, or of fchmod and its kind
	Times    int // pointer to the times of utimensat and its kind
	Attr     int // pointer to the name of an extended attribute; its value, size and flags follow it
	Owner    int // uid_t; a gid_t follows it

	// Victim is the number of the thread, or of the process by any of its threads,
	// that the call acts upon. Which is what else Victim may be the number of: a
	// PRIO_ value of setpriority, or an IOPRIO_WHO_ value; None: nothing else.
	Victim int
	Which  int

	// When limits the row to calls for which one of the conditions is true:
	// others never stop. nil is no limit.
	When []Condition
	// WhenTold adds conditions while the row's operation is wanted.
	WhenTold []Condition
	// Narrow takes the place of When while of the row's operations no other is
	// wanted than the first of these that says so.
	Narrow []Narrow

	words []word // see Words
}

// Narrow is when calls stop while nothing but Op is wanted of them.
type Narrow struct {
	Op   rules.Operation
	When []Condition
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
