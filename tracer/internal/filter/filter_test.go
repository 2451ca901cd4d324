package filter

import (
	"encoding/binary"
	"runtime"
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

// evaluate runs the program in x/net/bpf's VM. The VM loads big-endian words
// and the kernel's seccomp loads native ones, so the data is laid out as
// big-endian 32-bit words in the kernel's word order.
func evaluate(t *testing.T, prog []unix.SockFilter, arch, nr uint32, args [6]uint64) uint32 {
	t.Helper()
	insns := make([]bpf.Instruction, len(prog))
	for i, p := range prog {
		insns[i] = bpf.RawInstruction{Op: p.Code, Jt: p.Jt, Jf: p.Jf, K: p.K}.Disassemble()
	}
	vm, err := bpf.NewVM(insns)
	if err != nil {
		t.Fatalf("the program is not valid BPF: %v", err)
	}
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

func TestProgramHoldsExactlyWhatIsWanted(t *testing.T) {
	for arch, auditArch := range audit {
		for _, hold := range []rules.Operation{0, rules.Process, rules.File, rules.Network, rules.Process | rules.File | rules.Network} {
			prog, err := Program(Options{Hold: hold, Arch: arch})
			if err != nil {
				t.Fatal(err)
			}
			held := map[int]syscalls.Spec{}
			for _, s := range syscalls.Table() {
				if nr := number(s, arch); nr != syscalls.Absent && hold != 0 && (s.Op == 0 || s.Op&hold != 0) {
					held[nr] = s
				}
			}
			refused := map[int]unix.Errno{}
			for _, g := range guards() {
				a, _ := seccomp.GetArchFromString(arch)
				nr, err := seccomp.GetSyscallFromNameByArch(g.name, a)
				if err != nil {
					t.Fatal(err)
				}
				refused[int(nr)] = g.errno
			}
			for nr := range 600 {
				var args [6]uint64
				want := uint32(retAllow)
				if s, ok := held[nr]; ok {
					want = retNotify
					if s.When != nil {
						if got := evaluate(t, prog, auditArch, uint32(nr), [6]uint64{s.When.Value + 1}); got != retAllow {
							t.Errorf("%s hold %b: %s with another argument gives %#x, want allow", arch, hold, s.Name, got)
						}
						args[s.When.Arg] = s.When.Value
					}
				} else if e, ok := refused[nr]; ok {
					want = retErrno | uint32(e)
				}
				if got := evaluate(t, prog, auditArch, uint32(nr), args); got != want {
					t.Errorf("%s hold %b: call %d gives %#x, want %#x", arch, hold, nr, got, want)
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
		if got := evaluate(t, prog, c.arch, c.nr, [6]uint64{}); got != enosys {
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
