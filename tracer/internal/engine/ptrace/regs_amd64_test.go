package ptrace

import (
	"testing"

	"golang.org/x/sys/unix"
)

// As the kernel has them at the beginning of a call (syscall(2)).
func TestRegisters(t *testing.T) {
	r := registers{Orig_rax: unix.SYS_OPENAT, Rdi: 1, Rsi: 2, Rdx: 3, R10: 4, R8: 5, R9: 6, Rcx: 99, Rax: ^uint64(37)}
	if r.number() != unix.SYS_OPENAT || r.args() != [6]uint64{1, 2, 3, 4, 5, 6} || r.result() != -38 {
		t.Errorf("%d %v %d", r.number(), r.args(), r.result())
	}
	r.setArgs([6]uint64{7, 8, 9, 10, 11, 12})
	if r.args() != [6]uint64{7, 8, 9, 10, 11, 12} || r.Rcx != 99 {
		t.Errorf("%+v", r)
	}
	if none := (registers{Orig_rax: ^uint64(0)}); none.number() != -1 {
		t.Errorf("no call is %d", none.number())
	}
}

func TestShares(t *testing.T) {
	for nr, want := range map[uint64]uint64{unix.SYS_CLONE: unix.CLONE_VM, unix.SYS_FORK: 0, unix.SYS_VFORK: ^uint64(0), unix.SYS_CLONE3: ^uint64(0)} {
		if r := (registers{Orig_rax: nr, Rdi: unix.CLONE_VM}); r.shares() != want {
			t.Errorf("call %d shares %#x, want %#x", nr, r.shares(), want)
		}
	}
}
