package ptrace

import (
	"testing"

	"golang.org/x/sys/unix"
)

// As the kernel has them at the beginning of a call (syscall(2)): the upper half of the
// number's register is not looked at.
func TestRegisters(t *testing.T) {
	r := registers{Regs: [31]uint64{1, 2, 3, 4, 5, 6, 99, 98, 97<<32 | unix.SYS_OPENAT}}
	if r.number() != unix.SYS_OPENAT || r.args() != [6]uint64{1, 2, 3, 4, 5, 6} {
		t.Errorf("%d %v", r.number(), r.args())
	}
	r.Regs[0], r.Regs[8] = ^uint64(37), 1<<32-1
	if r.result() != -38 || r.number() != -1 {
		t.Errorf("%d %d", r.result(), r.number())
	}
}

func TestShares(t *testing.T) {
	for nr, want := range map[uint64]uint64{unix.SYS_CLONE: unix.CLONE_VM, unix.SYS_CLONE3: ^uint64(0)} {
		r := registers{}
		if r.Regs[0], r.Regs[8] = unix.CLONE_VM, nr; r.shares() != want {
			t.Errorf("call %d shares %#x, want %#x", nr, r.shares(), want)
		}
	}
}
