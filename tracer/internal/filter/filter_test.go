package filter

import (
	"encoding/binary"
	"runtime"
	"slices"
	"testing"

	seccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// Return values of a filter (include/uapi/linux/seccomp.h).
const (
	retErrno  = 0x00050000
	retNotify = 0x7fc00000
	retAllow  = 0x7fff0000
)

func load(t *testing.T, prog []unix.SockFilter) *bpf.VM {
	t.Helper()
	insns := make([]bpf.Instruction, len(prog))
	for i, p := range prog {
		insns[i] = bpf.RawInstruction{Op: p.Code, Jt: p.Jt, Jf: p.Jf, K: p.K}.Disassemble()
	}
	vm, err := bpf.NewVM(insns)
	if err != nil {
		t.Fatalf("the program is not valid BPF: %v", err)
	}
	return vm
}

// evaluate runs the program in x/net/bpf's VM. The VM loads big-endian words
// and the kernel's seccomp loads native ones, so the data is laid out as
// big-endian 32-bit words in the kernel's word order.
func evaluate(t *testing.T, vm *bpf.VM, arch, nr uint32, args [6]uint64) uint32 {
	t.Helper()
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[0:], nr)
	binary.BigEndian.PutUint32(data[4:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[16+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[20+8*i:], uint32(a>>32))
	}
	v, err := vm.Run(data)
	if err != nil {
		t.Fatalf("running the program: %v", err)
	}
	return uint32(v)
}

var audit = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

func number(s syscalls.Spec, arch string) int {
	if arch == "arm64" {
		return s.ARM64
	}
	return s.AMD64
}

// holdsTrue evaluates a condition by the book.
func holdsTrue(all syscalls.Condition, args [6]uint64) bool {
	for _, m := range all {
		if m.Least && args[m.Arg] < m.Value || !m.Least && (args[m.Arg]&m.Mask == m.Value) == m.Not {
			return false
		}
	}
	return true
}

// expected is what a call is to get: a guard's error, else a notification if a
// row that is wanted says so.
func expected(o Options, args [6]uint64, g *guard, s *syscalls.Spec) uint32 {
	applies := func(when []syscalls.Condition) bool {
		return len(when) == 0 || slices.ContainsFunc(when, func(c syscalls.Condition) bool { return holdsTrue(c, args) })
	}
	if g != nil && applies(g.when) {
		return retErrno | uint32(g.errno)
	}
	if s == nil {
		return retAllow
	}
	when, held := o.holds(s)
	switch {
	case held && applies(when):
		return retNotify
	case !held && s.Refuse != 0:
		return retErrno | uint32(s.Refuse)
	}
	return retAllow
}

// tracerPID stands for the tracer's number.
const tracerPID = 4242

// upper is a bit of the half of a register that the kernel ignores in an int.
const upper = 1 << 32

// arguments gives every pair of neighbouring arguments values that rows compare with.
func arguments() (all [][6]uint64) {
	values := []uint64{
		0, 1, 2, 3, unix.PR_SET_DUMPABLE, unix.PR_SET_DUMPABLE | upper, upper, unix.O_CREAT, unix.O_TRUNC, unix.O_CLOEXEC,
		unix.O_TMPFILE, unix.MSG_FASTOPEN, unix.MSG_FASTOPEN | upper, unix.MSG_FASTOPEN << 32, unix.MSG_NOSIGNAL, syscalls.All,
		tracerPID, tracerPID | upper, tracerPID << 32, unix.PTRACE_ATTACH, unix.PTRACE_SEIZE, unix.PR_SET_MM, 1 | upper,
		unix.CLONE_NEWUSER, unix.CLONE_NEWNS | unix.CLONE_VM, unix.PR_SET_PTRACER, uint64(unix.SIGKILL), uint64(unix.SIGKILL) | upper, unix.MAP_ANONYMOUS | unix.MAP_PRIVATE,
	}
	for _, v := range values {
		for _, w := range values {
			all = append(all, [6]uint64{v, w, 0, 0}, [6]uint64{0, 0, v, w})
		}
	}
	return all
}

func TestProgramHoldsExactlyWhatIsWanted(t *testing.T) {
	everything := rules.Process | rules.File | rules.Network
	for _, o := range []Options{
		{},
		{Sockets: true, FollowCwd: true},
		{Hold: rules.Process},
		{Hold: rules.FileRead},
		{Hold: rules.FileWrite},
		{Hold: rules.File, Starts: true},
		{Hold: rules.Network},
		{Hold: rules.Network, Sockets: true},
		{Hold: rules.Syscall},
		{Hold: rules.Capabilities},
		{Hold: rules.MapExec},
		{Hold: rules.All | rules.MapExec, Sockets: true, FollowCwd: true},
		{Hold: rules.NetworkAccept},
		{Hold: rules.NetworkSend},
		{Hold: rules.NetworkDNS},
		{Hold: rules.AnyNetwork},
		{Hold: everything},
		{Hold: everything, Sockets: true, FollowCwd: true},
	} {
		for arch := range audit {
			o.Arch, o.Tracer = arch, tracerPID
			compare(t, o)
		}
	}
}

// compare runs the program for every call.
func compare(t *testing.T, o Options) {
	t.Helper()
	prog, err := Program(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(prog) > 384 {
		t.Errorf("%+v: %d instructions: is the tree gone?", o, len(prog))
	}
	rows, refused := map[int]*syscalls.Spec{}, map[int]*guard{}
	for _, s := range syscalls.Table() {
		if nr := number(s, o.Arch); nr != syscalls.Absent {
			rows[nr] = &s
		}
	}
	arch, err := seccomp.GetArchFromString(o.Arch)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range o.guards() {
		nr, err := seccomp.GetSyscallFromNameByArch(g.name, arch)
		if err != nil {
			t.Fatal(err)
		}
		refused[int(nr)] = &g
	}
	vm := load(t, prog)
	for nr := range 600 {
		samples := arguments()
		if rows[nr] == nil && refused[nr] == nil {
			samples = samples[:1]
		}
		for _, args := range samples {
			want := expected(o, args, refused[nr], rows[nr])
			if got := evaluate(t, vm, audit[o.Arch], uint32(nr), args); got != want {
				t.Errorf("%+v: call %d with %#x gives %#x, want %#x", o, nr, args, got, want)
			}
		}
	}
}

// What the rows come to, spelled out: the test above takes them as given.
func TestHeldCalls(t *testing.T) {
	type call = [6]uint64
	const write, read = rules.FileWrite, rules.FileRead
	for _, c := range []struct {
		o    Options
		id   syscalls.ID
		args call
		held bool
	}{
		{Options{Hold: write}, syscalls.Openat, call{0, 0, unix.O_RDONLY | unix.O_CLOEXEC}, false},
		{Options{Hold: write}, syscalls.Openat, call{0, 0, unix.O_RDONLY | unix.O_WRONLY<<32}, false},
		{Options{Hold: write}, syscalls.Openat, call{0, 0, unix.O_WRONLY | upper}, true},
		{Options{Hold: write}, syscalls.Openat, call{0, 0, unix.O_RDWR}, true},
		{Options{Hold: write}, syscalls.Openat, call{0, 0, unix.O_ACCMODE}, true},
		{Options{Hold: write}, syscalls.Openat, call{0, 0, unix.O_CREAT}, true},
		{Options{Hold: write}, syscalls.Openat, call{0, 0, unix.O_TRUNC}, true},
		{Options{Hold: write}, syscalls.Openat, call{0, 0, unix.O_TMPFILE | unix.O_RDWR}, true},
		{Options{Hold: write}, syscalls.Openat2, call{}, true},
		{Options{Hold: read}, syscalls.Openat, call{}, true},
		{Options{Hold: read | write}, syscalls.Openat, call{}, true},
		{Options{Hold: read}, syscalls.Openat2, call{}, true},
		{Options{Hold: rules.Network}, syscalls.Openat2, call{}, false},
		{Options{Hold: rules.Network}, syscalls.Execve, call{}, true},
		{Options{Hold: rules.Network}, syscalls.Capset, call{}, true},
		{Options{Hold: rules.Network}, syscalls.Socket, call{}, false},
		{Options{Hold: rules.Network, Sockets: true}, syscalls.Socket, call{}, true},
		{Options{Hold: rules.Network}, syscalls.Sendto, call{}, false},
		{Options{Hold: rules.Network}, syscalls.Sendto, call{3: unix.MSG_FASTOPEN | unix.MSG_NOSIGNAL | upper}, true},
		{Options{Hold: rules.Network}, syscalls.Sendmsg, call{2: unix.MSG_FASTOPEN}, true},
		{Options{Hold: rules.Network}, syscalls.Sendmmsg, call{3: unix.MSG_FASTOPEN}, true},
		{Options{Hold: rules.Network}, syscalls.Sendto, call{4: 1}, false},
		{Options{Hold: rules.NetworkSend}, syscalls.Sendto, call{4: 1}, true},
		{Options{Hold: rules.NetworkSend}, syscalls.Sendto, call{0: 5, 1: 6, 2: 7, 3: unix.MSG_NOSIGNAL}, false},
		{Options{Hold: rules.NetworkSend}, syscalls.Sendmsg, call{}, true},
		{Options{Hold: rules.NetworkDNS}, syscalls.Sendto, call{5, 6, 40}, true},
		{Options{Hold: rules.NetworkDNS}, syscalls.Sendto, call{5, 6, 1024}, false},
		{Options{Hold: rules.NetworkDNS}, syscalls.Write, call{5, 6, 40}, true},
		{Options{Hold: rules.NetworkDNS}, syscalls.Write, call{2, 6, 40}, false},
		{Options{Hold: rules.NetworkDNS}, syscalls.Write, call{5, 6, 1024}, false},
		{Options{Hold: rules.NetworkDNS}, syscalls.Writev, call{5, 6, 2}, true},
		{Options{Hold: rules.Network | rules.NetworkSend}, syscalls.Write, call{5, 6, 40}, false},
		{Options{Hold: rules.Network}, syscalls.Bind, call{}, true},
		{Options{Hold: rules.Network}, syscalls.Listen, call{}, true},
		{Options{Hold: rules.Network}, syscalls.Accept4, call{}, false},
		{Options{Hold: rules.NetworkAccept}, syscalls.Accept4, call{}, true},
		{Options{Hold: rules.Network}, syscalls.Socket, call{unix.AF_PACKET | upper, unix.SOCK_DGRAM}, true},
		{Options{Hold: rules.Network}, syscalls.Socket, call{unix.AF_INET, unix.SOCK_RAW | unix.SOCK_CLOEXEC | upper}, true},
		{Options{Hold: rules.Network}, syscalls.Socket, call{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC}, false},
		{Options{Hold: rules.Network}, syscalls.Socket, call{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}, true},
		{Options{Hold: rules.Network}, syscalls.Socket, call{unix.AF_NETLINK, unix.SOCK_RAW}, false},
		{Options{Hold: rules.File}, syscalls.Sendto, call{3: unix.MSG_FASTOPEN}, false},
		{Options{Hold: rules.Process}, syscalls.Prctl, call{unix.PR_SET_DUMPABLE | upper}, true},
		{Options{Hold: rules.Process}, syscalls.Prctl, call{unix.PR_GET_DUMPABLE}, false},
		{Options{Hold: rules.Process}, syscalls.Prctl, call{unix.PR_SET_PTRACER}, false},
		{Options{Hold: rules.Syscall}, syscalls.Prctl, call{unix.PR_SET_PTRACER}, true},
		{Options{Hold: rules.Syscall}, syscalls.Prctl, call{unix.PR_SET_NAME}, false},
		{Options{Hold: rules.Syscall}, syscalls.Clone, call{unix.CLONE_NEWUSER | unix.CLONE_VM}, true},
		{Options{Hold: rules.Syscall}, syscalls.Clone, call{unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_FILES}, false},
		{Options{Hold: rules.All &^ (rules.Syscall | rules.Capabilities)}, syscalls.Clone, call{unix.CLONE_NEWUSER}, false},
		{Options{Hold: rules.Syscall}, syscalls.Ptrace, call{unix.PTRACE_ATTACH, 17}, true},
		{Options{Hold: rules.Syscall}, syscalls.Ptrace, call{unix.PTRACE_CONT, 17}, false},
		{Options{Hold: rules.Process}, syscalls.Kill, call{17, uint64(unix.SIGKILL)}, true},
		{Options{Hold: rules.All}, syscalls.Kill, call{17, uint64(unix.SIGTERM)}, false},
		{Options{Hold: rules.All}, syscalls.Tgkill, call{17, 17, uint64(unix.SIGURG)}, false},
		{Options{Hold: rules.FileWrite}, syscalls.Mount, call{}, true},
		{Options{Hold: rules.Process}, syscalls.MemfdCreate, call{}, false},
		{Options{Hold: rules.Syscall}, syscalls.MemfdCreate, call{}, true},
		{Options{Hold: rules.All}, syscalls.Mmap, call{2: unix.PROT_EXEC, 3: unix.MAP_ANONYMOUS}, false},
		{Options{Hold: rules.MapExec}, syscalls.Mmap, call{2: unix.PROT_EXEC | unix.PROT_READ, 3: unix.MAP_ANONYMOUS | unix.MAP_PRIVATE}, true},
		{Options{Hold: rules.MapExec}, syscalls.Mmap, call{2: unix.PROT_EXEC | unix.PROT_READ, 3: unix.MAP_PRIVATE}, false},
		{Options{Hold: rules.MapExec}, syscalls.Mprotect, call{2: unix.PROT_READ}, false},
		{Options{Hold: rules.MapExec}, syscalls.Mprotect, call{2: unix.PROT_READ | unix.PROT_EXEC}, true},
		{Options{}, syscalls.Prlimit64, call{17}, false},
		{Options{Hold: rules.Process}, syscalls.Prlimit64, call{17}, true},
		{Options{Hold: rules.Process}, syscalls.Prlimit64, call{0, unix.RLIMIT_NOFILE}, false},
		{Options{Hold: rules.Process}, syscalls.SchedSetaffinity, call{0, 8}, false},
		{Options{Hold: rules.Process}, syscalls.SchedSetaffinity, call{17}, true},
		{Options{Hold: rules.Process}, syscalls.Setpriority, call{unix.PRIO_PROCESS, 0}, false},
		{Options{Hold: rules.Process}, syscalls.Setpriority, call{unix.PRIO_PROCESS, 17}, true},
		{Options{Hold: rules.Process}, syscalls.Setpriority, call{unix.PRIO_PGRP, 0}, true},
		{Options{Hold: rules.Process}, syscalls.IoprioSet, call{1, 0}, false},
		{Options{Hold: rules.Process}, syscalls.IoprioSet, call{1, 17}, true},
		{Options{Hold: rules.Process}, syscalls.IoprioSet, call{3, 0}, true},
	} {
		s := syscalls.Table()[c.id]
		for arch, auditArch := range audit {
			c.o.Arch = arch
			prog, err := Program(c.o)
			if err != nil {
				t.Fatal(err)
			}
			got := evaluate(t, load(t, prog), auditArch, uint32(number(s, arch)), c.args)
			if (got == retNotify) != c.held {
				t.Errorf("%+v: %s with %#x gives %#x, held: %v", c.o, s.Name, c.args, got, c.held)
			}
		}
	}
}

func TestTracerIsOutOfReach(t *testing.T) {
	type call = [6]uint64
	const mine = 17
	for _, c := range []struct {
		name    string
		args    call
		refused bool
	}{
		{"prlimit64", call{tracerPID}, true},
		{"prlimit64", call{tracerPID | upper}, true},
		{"prlimit64", call{mine}, false},
		{"sched_setaffinity", call{tracerPID}, true},
		{"sched_setattr", call{tracerPID}, true},
		{"sched_setscheduler", call{tracerPID}, true},
		{"sched_setparam", call{tracerPID}, true},
		{"sched_getparam", call{tracerPID}, false},
		{"setpriority", call{unix.PRIO_PROCESS, tracerPID}, true},
		{"setpriority", call{unix.PRIO_USER, tracerPID}, false}, // a user of that number
		{"ioprio_set", call{1, tracerPID | upper}, true},
		{"process_vm_writev", call{tracerPID}, true},
		{"process_vm_writev", call{mine}, false},
		{"process_vm_readv", call{tracerPID}, true},
		{"migrate_pages", call{tracerPID}, true},
		{"move_pages", call{tracerPID}, true},
		{"kcmp", call{tracerPID, mine}, true},
		{"kcmp", call{mine, tracerPID}, true},
		{"kcmp", call{mine, mine, tracerPID}, false},
		{"ptrace", call{unix.PTRACE_ATTACH, tracerPID}, true},
		{"ptrace", call{unix.PTRACE_SEIZE, tracerPID | upper}, true},
		{"ptrace", call{unix.PTRACE_ATTACH, mine}, false},
		{"ptrace", call{unix.PTRACE_TRACEME, tracerPID}, false},
		{"pidfd_open", call{tracerPID}, false},
		{"prctl", call{unix.PR_SET_MM | upper}, true},
		{"prctl", call{unix.PR_SET_NAME}, false},
	} {
		for arch, auditArch := range audit {
			for _, hold := range []rules.Operation{0, rules.Process} {
				prog, err := Program(Options{Hold: hold, Arch: arch, Tracer: tracerPID})
				if err != nil {
					t.Fatal(err)
				}
				a, _ := seccomp.GetArchFromString(arch)
				nr, err := seccomp.GetSyscallFromNameByArch(c.name, a)
				if err != nil {
					t.Fatal(err)
				}
				got := evaluate(t, load(t, prog), auditArch, uint32(nr), c.args)
				if (got == retErrno|uint32(unix.EPERM)) != c.refused {
					t.Errorf("%s hold %b: %s with %#x gives %#x, refused: %v", arch, hold, c.name, c.args, got, c.refused)
				}
			}
		}
	}
}

func TestForeignABIsAreRefused(t *testing.T) {
	prog, err := Program(Options{Hold: rules.File, Arch: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	enosys := uint32(retErrno | unix.ENOSYS)
	for name, c := range map[string]struct{ arch, nr uint32 }{
		"i386 open by int 0x80": {unix.AUDIT_ARCH_I386, 5},
		"i386 execve":           {unix.AUDIT_ARCH_I386, 11},
		"x32 open":              {unix.AUDIT_ARCH_X86_64, 0x40000000 + 2},
		"x32 execve":            {unix.AUDIT_ARCH_X86_64, 0x40000000 + 520},
		"arm64 openat":          {unix.AUDIT_ARCH_AARCH64, 56},
	} {
		if got := evaluate(t, load(t, prog), c.arch, c.nr, [6]uint64{}); got != enosys {
			t.Errorf("%s gives %#x, want ENOSYS", name, got)
		}
	}
}

func TestTableAgreesWithLibseccomp(t *testing.T) {
	for _, s := range syscalls.Table() {
		for arch, want := range map[seccomp.ScmpArch]int{seccomp.ArchAMD64: s.AMD64, seccomp.ArchARM64: s.ARM64} {
			nr, err := seccomp.GetSyscallFromNameByArch(s.Name, arch)
			if err != nil {
				t.Errorf("%s on %v: %v", s.Name, arch, err)
			}
			if int(nr) < 0 { // libseccomp's pseudo numbers stand for calls that an architecture lacks
				nr = syscalls.Absent
			}
			if int(nr) != want {
				t.Errorf("%s on %v is %d, the table says %d", s.Name, arch, nr, want)
			}
		}
	}
}

func TestNativeProgramIsTheOneForThisArchitecture(t *testing.T) {
	native, err := Program(Options{Hold: rules.File})
	if err != nil {
		t.Fatal(err)
	}
	named, err := Program(Options{Hold: rules.File, Arch: runtime.GOARCH})
	if err != nil {
		t.Fatal(err)
	}
	if len(native) != len(named) {
		t.Fatalf("%d instructions without a named architecture, %d with", len(native), len(named))
	}
}

func TestUnknownArchitectureIsAnError(t *testing.T) {
	if _, err := Program(Options{Arch: "vax"}); err == nil {
		t.Fatal("no error")
	}
}
