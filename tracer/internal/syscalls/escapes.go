package syscalls

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
)

// word is an argument as Data tells it, "name=value".
type word struct {
	name  string
	arg   uint8
	kind  wordKind
	known []flagName
}

// wordKind is how the value of a word is written.
type wordKind uint8

const (
	number wordKind = iota // an int, or its name
	bits                   // flags by their names
	text                   // a pointer to a string
)

// NewNamespaces are the flags that ask for new namespaces.
const NewNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET

var (
	cloneFlags = []flagName{
		{unix.CLONE_NEWNS, "CLONE_NEWNS"},
		{unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
		{unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
		{unix.CLONE_NEWIPC, "CLONE_NEWIPC"},
		{unix.CLONE_NEWUSER, "CLONE_NEWUSER"},
		{unix.CLONE_NEWPID, "CLONE_NEWPID"},
		{unix.CLONE_NEWNET, "CLONE_NEWNET"},
		{unix.CLONE_NEWTIME, "CLONE_NEWTIME"},
	}
	memfdFlags = []flagName{{unix.MFD_CLOEXEC, "MFD_CLOEXEC"}, {unix.MFD_ALLOW_SEALING, "MFD_ALLOW_SEALING"}, {unix.MFD_HUGETLB, "MFD_HUGETLB"}}
	protFlags  = []flagName{{unix.PROT_READ, "PROT_READ"}, {unix.PROT_WRITE, "PROT_WRITE"}, {unix.PROT_EXEC, "PROT_EXEC"}}
	requests   = []flagName{{unix.PTRACE_TRACEME, "PTRACE_TRACEME"}, {unix.PTRACE_ATTACH, "PTRACE_ATTACH"}, {unix.PTRACE_SEIZE, "PTRACE_SEIZE"}}
	deadly     = []flagName{{uint64(unix.SIGKILL), ""}, {uint64(unix.SIGSTOP), ""}}
	options    = []flagName{
		{unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"},
		{unix.PR_SET_KEEPCAPS, "PR_SET_KEEPCAPS"},
		{unix.PR_SET_SECUREBITS, "PR_SET_SECUREBITS"},
		{unix.PR_SET_PTRACER, "PR_SET_PTRACER"},
		{unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT"},
	}
)

// Words is what Data tells of the arguments of a call that reaches out of its
// caller. read gives the string that is at an address of the caller's.
func (s *Spec) Words(args *[6]uint64, read func(addr uint64) string) string {
	var b strings.Builder
	for _, w := range s.words {
		value := args[w.arg]
		b.WriteString(" " + w.name + "=")
		switch w.kind {
		case text:
			if value != 0 {
				b.WriteString(read(value))
			}
		case bits:
			b.WriteString(namesOf(value, w.known))
		default:
			b.WriteString(nameOf(uint64(uint32(value)), w.known))
		}
	}
	return b.String()
}

func nameOf(value uint64, known []flagName) string {
	for _, k := range known {
		if k.bits == value {
			return k.name
		}
	}
	return strconv.Itoa(int(int32(value)))
}

func namesOf(value uint64, known []flagName) string {
	var names []string
	for _, k := range known {
		if value&k.bits == k.bits {
			names = append(names, k.name)
		}
	}
	return strings.Join(names, "|")
}

// escape is a row of a call that gives its caller other rights, or by which a program
// reaches into another one, the kernel, or out of its container. What is 0 it has not.
type escape struct {
	id           ID
	name         string
	amd64, arm64 int16
	// capability that it wants, one of capabilities(7), and the errno that every
	// workload gets.
	capability int8
	refuse     unix.Errno
	// path and victim count arguments from 1.
	path, victim int8
	state        bool // it changes facts that are kept about a process, or what a path leads to
	words        []word
}

// What Data tells of more than one call.
var (
	flags0     = []word{{"flags", 0, bits, cloneFlags}}
	fd0        = []word{{"fd", 0, number, nil}}
	user0      = []word{{"userid", 0, number, nil}}
	group0     = []word{{"groupid", 0, number, nil}}
	filesystem = []word{{"filesystem", 0, text, nil}}
	path1      = []word{{"path", 1, text, nil}}
	key        = []word{{"type", 0, text, nil}, {"description", 1, text, nil}}
	signal     = []word{{"pid", 0, number, nil}, {"signal", 1, number, nil}}
	signal2    = []word{{"pid", 1, number, nil}, {"signal", 2, number, nil}}
	prot2      = []word{{"prot", 2, bits, protFlags}}
)

const noCapability = -1 // CAP_CHOWN is 0, and no escape's

// escapes has the calls in the order of their IDs.
var escapes = [...]escape{
	// They change what a path leads to.
	{Chroot, "chroot", 161, 51, unix.CAP_SYS_CHROOT, 0, 1, 0, true, nil},
	{PivotRoot, "pivot_root", 155, 41, unix.CAP_SYS_ADMIN, 0, 1, 0, true, []word{{"put_old", 1, text, nil}}},
	{Unshare, "unshare", 272, 97, unix.CAP_SYS_ADMIN, 0, 0, 0, true, flags0},
	{Setns, "setns", 308, 268, unix.CAP_SYS_ADMIN, 0, 0, 0, true, []word{{"fd", 0, number, nil}, {"nstype", 1, bits, cloneFlags}}},

	// They change what a thread may do, or who may look into it.
	{Setuid, "setuid", 105, 146, unix.CAP_SETUID, 0, 0, 0, true, user0},
	{Setgid, "setgid", 106, 144, unix.CAP_SETGID, 0, 0, 0, true, group0},
	{Setreuid, "setreuid", 113, 145, unix.CAP_SETUID, 0, 0, 0, true, []word{{"ruserid", 0, number, nil}, {"euserid", 1, number, nil}}},
	{Setregid, "setregid", 114, 143, unix.CAP_SETGID, 0, 0, 0, true, []word{{"rgroupid", 0, number, nil}, {"egroupid", 1, number, nil}}},
	{Setresuid, "setresuid", 117, 147, unix.CAP_SETUID, 0, 0, 0, true, []word{{"ruserid", 0, number, nil}, {"euserid", 1, number, nil}, {"suserid", 2, number, nil}}},
	{Setresgid, "setresgid", 119, 149, unix.CAP_SETGID, 0, 0, 0, true, []word{{"rgroupid", 0, number, nil}, {"egroupid", 1, number, nil}, {"sgroupid", 2, number, nil}}},
	{Setfsuid, "setfsuid", 122, 151, unix.CAP_SETUID, 0, 0, 0, true, user0},
	{Setfsgid, "setfsgid", 123, 152, unix.CAP_SETGID, 0, 0, 0, true, group0},
	{Setgroups, "setgroups", 116, 159, unix.CAP_SETGID, 0, 0, 0, true, []word{{"size", 0, number, nil}}},
	{Capset, "capset", 126, 91, noCapability, 0, 0, 0, true, nil},
	{Prctl, "prctl", 157, 167, noCapability, 0, 0, 0, true, []word{{"option", 0, number, options}, {"value", 1, number, nil}}},

	// They reach into other processes and the kernel.
	{Ptrace, "ptrace", 101, 117, noCapability, 0, 0, 2, false, []word{{"request", 0, number, requests}, {"pid", 1, number, nil}}},
	{ProcessVMWritev, "process_vm_writev", 311, 271, noCapability, 0, 0, 1, false, []word{{"pid", 0, number, nil}}},
	{Clone, "clone", 56, 220, unix.CAP_SYS_ADMIN, 0, 0, 0, false, flags0},
	{NameToHandleAt, "name_to_handle_at", 303, 264, noCapability, 0, 2, 0, false, nil},
	{Mount, "mount", 165, 40, unix.CAP_SYS_ADMIN, 0, 2, 0, true, []word{
		{"source", 0, text, nil}, {"target", 1, text, nil}, {"filesystem", 2, text, nil}, {"mountflag", 3, number, nil}, {"data", 4, text, nil},
	}},
	{Umount2, "umount2", 166, 39, unix.CAP_SYS_ADMIN, 0, 1, 0, false, []word{{"target", 0, text, nil}, {"flag", 1, number, nil}}},
	{Keyctl, "keyctl", 250, 219, noCapability, 0, 0, 0, false, []word{{"operation", 0, number, nil}}},
	{AddKey, "add_key", 248, 217, noCapability, 0, 0, 0, false, key},
	{RequestKey, "request_key", 249, 218, noCapability, 0, 0, 0, false, key},
	{Bpf, "bpf", 321, 280, noCapability, 0, 0, 0, false, []word{{"cmd", 0, number, nil}}},
	{PerfEventOpen, "perf_event_open", 298, 241, noCapability, 0, 0, 0, false, []word{{"pid", 1, number, nil}, {"cpu", 2, number, nil}}},
	{MemfdCreate, "memfd_create", 319, 279, noCapability, 0, 1, 0, false, []word{{"flags", 1, bits, memfdFlags}}},
	{InitModule, "init_module", 175, 105, unix.CAP_SYS_MODULE, 0, 0, 0, false, nil},
	{FinitModule, "finit_module", 313, 273, unix.CAP_SYS_MODULE, 0, 0, 0, false, fd0},
	{DeleteModule, "delete_module", 176, 106, unix.CAP_SYS_MODULE, 0, 0, 0, false, []word{{"name", 0, text, nil}}},
	{KexecLoad, "kexec_load", 246, 104, unix.CAP_SYS_BOOT, 0, 0, 0, false, nil},
	{KexecFileLoad, "kexec_file_load", 320, 294, unix.CAP_SYS_BOOT, 0, 0, 0, false, fd0},
	{Reboot, "reboot", 169, 142, unix.CAP_SYS_BOOT, 0, 0, 0, false, []word{{"cmd", 2, number, nil}}},
	{Swapon, "swapon", 167, 224, unix.CAP_SYS_ADMIN, 0, 1, 0, false, nil},
	{Swapoff, "swapoff", 168, 225, unix.CAP_SYS_ADMIN, 0, 1, 0, false, nil},
	{Sethostname, "sethostname", 170, 161, unix.CAP_SYS_ADMIN, 0, 0, 0, false, nil},
	{Setdomainname, "setdomainname", 171, 162, unix.CAP_SYS_ADMIN, 0, 0, 0, false, nil},
	{Settimeofday, "settimeofday", 164, 170, unix.CAP_SYS_TIME, 0, 0, 0, false, nil},
	{ClockSettime, "clock_settime", 227, 112, unix.CAP_SYS_TIME, 0, 0, 0, false, []word{{"clockid", 0, number, nil}}},
	{Acct, "acct", 163, 89, unix.CAP_SYS_PACCT, 0, 1, 0, false, nil},
	{Iopl, "iopl", 172, Absent, unix.CAP_SYS_RAWIO, 0, 0, 0, false, []word{{"level", 0, number, nil}}},
	{Ioperm, "ioperm", 173, Absent, unix.CAP_SYS_RAWIO, 0, 0, 0, false, []word{{"from", 0, number, nil}, {"num", 1, number, nil}}},

	// They reach files, sockets or the tracer past the held calls. Container runtimes'
	// default profiles refuse nearly all of them as well, so that programs cope.
	// io_uring answers ENOSYS, which makes its users fall back to ordinary calls.
	{IOUringSetup, "io_uring_setup", 425, 425, noCapability, unix.ENOSYS, 0, 0, false, []word{{"entries", 0, number, nil}}},
	{Userfaultfd, "userfaultfd", 323, 282, noCapability, unix.EPERM, 0, 0, false, nil},          // stalls the tracer's reads of the workload's memory
	{OpenByHandleAt, "open_by_handle_at", 304, 265, noCapability, unix.EPERM, 0, 0, false, nil}, // opens by inode, no path
	{PidfdGetfd, "pidfd_getfd", 438, 438, noCapability, unix.EPERM, 0, 0, false, nil},           // takes descriptors from other processes
	{Fsopen, "fsopen", 430, 430, noCapability, unix.EPERM, 0, 0, false, filesystem},             // the mount API aliases paths
	{Fspick, "fspick", 433, 433, noCapability, unix.EPERM, 0, 0, false, path1},
	{OpenTree, "open_tree", 428, 428, noCapability, unix.EPERM, 0, 0, false, path1},
	{MoveMount, "move_mount", 429, 429, noCapability, unix.EPERM, 0, 0, false, []word{{"source", 1, text, nil}, {"target", 3, text, nil}}},
	{MountSetattr, "mount_setattr", 442, 442, noCapability, unix.EPERM, 0, 0, false, path1},

	// They can end or stop the tracer, where it is not process 1.
	{Kill, "kill", 62, 129, noCapability, 0, 0, 1, true, signal},
	{Tkill, "tkill", 200, 130, noCapability, 0, 0, 1, true, signal},
	{Tgkill, "tgkill", 234, 131, noCapability, 0, 0, 2, true, signal2},
	{RtSigqueueinfo, "rt_sigqueueinfo", 129, 138, noCapability, 0, 0, 1, true, signal},
	{RtTgsigqueueinfo, "rt_tgsigqueueinfo", 297, 240, noCapability, 0, 0, 2, true, signal2},

	// They make memory executable.
	{Mmap, "mmap", 9, 222, noCapability, 0, 0, 0, false, prot2},
	{Mprotect, "mprotect", 10, 226, noCapability, 0, 0, 0, false, prot2},
	{PkeyMprotect, "pkey_mprotect", 329, 288, noCapability, 0, 0, 0, false, prot2},
}

// reaching are the rows of escapes.
func reaching() []Spec {
	all := make([]Spec, len(escapes))
	for i := range escapes {
		e := &escapes[i]
		s := row(e.id, e.name, int(e.amd64), int(e.arm64), rules.Syscall)
		s.Refuse, s.State, s.words = e.refuse, e.state, e.words
		if e.capability != noCapability {
			s.Capability, s.Op = int(e.capability), rules.Syscall|rules.Capabilities
		}
		s.Path, s.Victim = int(e.path)-1, int(e.victim)-1 // None is -1
		s.limit()
		all[i] = s
	}
	return all
}

// limit says for which arguments an escape is held.
func (s *Spec) limit() {
	is := func(arg uint, known []flagName) (when []Condition) {
		for _, k := range known {
			when = append(when, Condition{equal(arg, k.bits)})
		}
		return when
	}
	switch s.ID {
	case Prctl:
		s.When, s.WhenTold = is(0, options[:1]), is(0, options[1:])
	case Ptrace:
		s.When = is(0, requests)
	case Clone:
		s.When = anyBit(0, NewNamespaces)
	case NameToHandleAt:
		s.Dirfd = 0
	case Kill, Tkill, Tgkill, RtSigqueueinfo, RtTgsigqueueinfo: // other signals go their way
		s.When = is(uint(s.words[1].arg), deadly)
	case Mmap, Mprotect, PkeyMprotect:
		s.Op = rules.MapExec
		when := Condition{{Arg: 2, Mask: unix.PROT_EXEC, Value: unix.PROT_EXEC}}
		if s.ID == Mmap {
			when = append(when, Match{Arg: 3, Mask: unix.MAP_ANONYMOUS, Value: unix.MAP_ANONYMOUS})
		}
		s.When = []Condition{when}
	}
}
