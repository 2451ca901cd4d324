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
	arg   int
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

// escape is a call that reaches out of its caller, and the words that tell of it.
func escape(id ID, name string, amd64, arm64 int, words ...word) Spec {
	s := row(id, name, amd64, arm64, rules.Syscall)
	s.words = words
	return s
}

// privileged is one that wants a capability, CAP_ numbers of capabilities(7).
func privileged(capability int, s Spec) Spec {
	s.Capability, s.Op = capability, rules.Syscall|rules.Capabilities
	return s
}

// changing is one that changes facts which are kept about a process.
func changing(s Spec) Spec {
	s.State = true
	return s
}

// named is one that names a path.
func named(path int, s Spec) Spec {
	s.Path = path
	return s
}

// refused is one that no workload may make.
func refused(errno unix.Errno, s Spec) Spec {
	s.Refuse = errno
	return s
}

// at is one that acts upon a process, by its number.
func at(victim int, s Spec) Spec {
	s.Victim = victim
	return s
}

// namespaces are the calls that change what a path leads to.
func namespaces() []Spec {
	chdir, fchdir := row(Chdir, "chdir", 80, 49, 0), row(Fchdir, "fchdir", 81, 50, 0)
	chdir.Path, fchdir.FD = 0, 0
	admin := func(s Spec) Spec { return changing(privileged(unix.CAP_SYS_ADMIN, s)) }
	return []Spec{
		chdir, fchdir,
		changing(named(0, privileged(unix.CAP_SYS_CHROOT, escape(Chroot, "chroot", 161, 51)))),
		named(0, admin(escape(PivotRoot, "pivot_root", 155, 41, word{"put_old", 1, text, nil}))),
		admin(escape(Unshare, "unshare", 272, 97, word{"flags", 0, bits, cloneFlags})),
		admin(escape(Setns, "setns", 308, 268, word{"fd", 0, number, nil}, word{"nstype", 1, bits, cloneFlags})),
	}
}

// credentials are the calls that change what a thread may do, or who may look
// into it.
func credentials() []Spec {
	user := func(id ID, name string, amd64, arm64 int, words ...word) Spec {
		return changing(privileged(unix.CAP_SETUID, escape(id, name, amd64, arm64, words...)))
	}
	group := func(id ID, name string, amd64, arm64 int, words ...word) Spec {
		return changing(privileged(unix.CAP_SETGID, escape(id, name, amd64, arm64, words...)))
	}
	n := func(name string, arg int) word { return word{name, arg, number, nil} }
	prctl := changing(escape(Prctl, "prctl", 157, 167, word{"option", 0, number, options}, n("value", 1)))
	prctl.When = []Condition{{equal(0, unix.PR_SET_DUMPABLE)}}
	for _, option := range options[1:] {
		prctl.WhenTold = append(prctl.WhenTold, Condition{equal(0, option.bits)})
	}
	return []Spec{
		user(Setuid, "setuid", 105, 146, n("userid", 0)),
		group(Setgid, "setgid", 106, 144, n("groupid", 0)),
		user(Setreuid, "setreuid", 113, 145, n("ruserid", 0), n("euserid", 1)),
		group(Setregid, "setregid", 114, 143, n("rgroupid", 0), n("egroupid", 1)),
		user(Setresuid, "setresuid", 117, 147, n("ruserid", 0), n("euserid", 1), n("suserid", 2)),
		group(Setresgid, "setresgid", 119, 149, n("rgroupid", 0), n("egroupid", 1), n("sgroupid", 2)),
		user(Setfsuid, "setfsuid", 122, 151, n("userid", 0)),
		group(Setfsgid, "setfsgid", 123, 152, n("groupid", 0)),
		group(Setgroups, "setgroups", 116, 159, n("size", 0)),
		changing(escape(Capset, "capset", 126, 91)),
		prctl,
		row(LandlockCreateRuleset, "landlock_create_ruleset", 444, 444, 0),
		row(LandlockRestrictSelf, "landlock_restrict_self", 446, 446, 0),
	}
}

// escapes are other calls by which a program reaches into another one, the kernel,
// or out of its container.
func escapes() []Spec {
	n := func(name string, arg int) word { return word{name, arg, number, nil} }
	t := func(name string, arg int) word { return word{name, arg, text, nil} }
	ptrace := at(1, escape(Ptrace, "ptrace", 101, 117, word{"request", 0, number, requests}, n("pid", 1)))
	for _, r := range requests {
		ptrace.When = append(ptrace.When, Condition{equal(0, r.bits)})
	}
	handle := named(1, escape(NameToHandleAt, "name_to_handle_at", 303, 264))
	handle.Dirfd = 0
	clone := privileged(unix.CAP_SYS_ADMIN, escape(Clone, "clone", 56, 220, word{"flags", 0, bits, cloneFlags}))
	clone.When = anyBit(0, NewNamespaces)
	return []Spec{
		ptrace,
		at(0, escape(ProcessVMWritev, "process_vm_writev", 311, 271, n("pid", 0))),
		clone,
		handle,
		named(1, privileged(unix.CAP_SYS_ADMIN, escape(Mount, "mount", 165, 40, t("source", 0), t("target", 1), t("filesystem", 2), n("mountflag", 3), t("data", 4)))),
		named(0, privileged(unix.CAP_SYS_ADMIN, escape(Umount2, "umount2", 166, 39, t("target", 0), n("flag", 1)))),
		escape(Keyctl, "keyctl", 250, 219, n("operation", 0)),
		escape(AddKey, "add_key", 248, 217, t("type", 0), t("description", 1)),
		escape(RequestKey, "request_key", 249, 218, t("type", 0), t("description", 1)),
		escape(Bpf, "bpf", 321, 280, n("cmd", 0)),
		escape(PerfEventOpen, "perf_event_open", 298, 241, n("pid", 1), n("cpu", 2)),
		named(0, escape(MemfdCreate, "memfd_create", 319, 279, word{"flags", 1, bits, memfdFlags})),
		privileged(unix.CAP_SYS_MODULE, escape(InitModule, "init_module", 175, 105)),
		privileged(unix.CAP_SYS_MODULE, escape(FinitModule, "finit_module", 313, 273, n("fd", 0))),
		privileged(unix.CAP_SYS_MODULE, escape(DeleteModule, "delete_module", 176, 106, t("name", 0))),
		privileged(unix.CAP_SYS_BOOT, escape(KexecLoad, "kexec_load", 246, 104)),
		privileged(unix.CAP_SYS_BOOT, escape(KexecFileLoad, "kexec_file_load", 320, 294, n("fd", 0))),
		privileged(unix.CAP_SYS_BOOT, escape(Reboot, "reboot", 169, 142, n("cmd", 2))),
		named(0, privileged(unix.CAP_SYS_ADMIN, escape(Swapon, "swapon", 167, 224))),
		named(0, privileged(unix.CAP_SYS_ADMIN, escape(Swapoff, "swapoff", 168, 225))),
		privileged(unix.CAP_SYS_ADMIN, escape(Sethostname, "sethostname", 170, 161)),
		privileged(unix.CAP_SYS_ADMIN, escape(Setdomainname, "setdomainname", 171, 162)),
		privileged(unix.CAP_SYS_TIME, escape(Settimeofday, "settimeofday", 164, 170)),
		privileged(unix.CAP_SYS_TIME, escape(ClockSettime, "clock_settime", 227, 112, n("clockid", 0))),
		named(0, privileged(unix.CAP_SYS_PACCT, escape(Acct, "acct", 163, 89))),
		privileged(unix.CAP_SYS_RAWIO, escape(Iopl, "iopl", 172, Absent, n("level", 0))),
		privileged(unix.CAP_SYS_RAWIO, escape(Ioperm, "ioperm", 173, Absent, n("from", 0), n("num", 1))),
	}
}

// detours reach files, sockets or the tracer past the held calls. Container
// runtimes' default profiles refuse nearly all of them as well, so that programs
// cope. io_uring answers ENOSYS, which makes its users fall back to ordinary calls.
func detours() []Spec {
	eperm := func(id ID, name string, amd64, arm64 int, words ...word) Spec {
		return refused(unix.EPERM, escape(id, name, amd64, arm64, words...))
	}
	return []Spec{
		refused(unix.ENOSYS, escape(IOUringSetup, "io_uring_setup", 425, 425, word{"entries", 0, number, nil})),
		eperm(Userfaultfd, "userfaultfd", 323, 282),                         // stalls the tracer's reads of the workload's memory
		eperm(OpenByHandleAt, "open_by_handle_at", 304, 265),                // opens by inode, no path
		eperm(PidfdGetfd, "pidfd_getfd", 438, 438),                          // takes descriptors from other processes
		eperm(Fsopen, "fsopen", 430, 430, word{"filesystem", 0, text, nil}), // the mount API aliases paths
		eperm(Fspick, "fspick", 433, 433, word{"path", 1, text, nil}),
		eperm(OpenTree, "open_tree", 428, 428, word{"path", 1, text, nil}),
		eperm(MoveMount, "move_mount", 429, 429, word{"source", 1, text, nil}, word{"target", 3, text, nil}),
		eperm(MountSetattr, "mount_setattr", 442, 442, word{"path", 1, text, nil}),
	}
}

// signals are the calls that can end or stop the tracer, where it is not process 1.
// Other signals, and those to others, go their way.
func signals() []Spec {
	signal := func(id ID, name string, amd64, arm64, victim, sig int) Spec {
		s := changing(at(victim, escape(id, name, amd64, arm64, word{"pid", victim, number, nil}, word{"signal", sig, number, nil})))
		s.When = []Condition{{equal(uint(sig), uint64(unix.SIGKILL))}, {equal(uint(sig), uint64(unix.SIGSTOP))}}
		return s
	}
	return []Spec{
		signal(Kill, "kill", 62, 129, 0, 1),
		signal(Tkill, "tkill", 200, 130, 0, 1),
		signal(Tgkill, "tgkill", 234, 131, 1, 2),
		signal(RtSigqueueinfo, "rt_sigqueueinfo", 129, 138, 0, 1),
		signal(RtTgsigqueueinfo, "rt_tgsigqueueinfo", 297, 240, 1, 2),
	}
}

// maps are the calls that make memory executable: without a file behind it, as far
// as their arguments tell.
func maps() []Spec {
	prot := word{"prot", 2, bits, protFlags}
	mapping := func(id ID, name string, amd64, arm64 int, when Condition) Spec {
		s := row(id, name, amd64, arm64, rules.MapExec)
		s.words, s.When = []word{prot}, []Condition{when}
		return s
	}
	executable := Match{Arg: 2, Mask: unix.PROT_EXEC, Value: unix.PROT_EXEC}
	return []Spec{
		mapping(Mmap, "mmap", 9, 222, Condition{executable, {Arg: 3, Mask: unix.MAP_ANONYMOUS, Value: unix.MAP_ANONYMOUS}}),
		mapping(Mprotect, "mprotect", 10, 226, Condition{executable}),
		mapping(PkeyMprotect, "pkey_mprotect", 329, 288, Condition{executable}),
	}
}
