package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// registers are those of a thread that has stopped in a call.
type registers unix.PtraceRegs

// ntSystemCall is NT_ARM_SYSTEM_CALL: the number of the call, which is not among the
// registers.
const ntSystemCall = 0x404

// number is the call's.
func (r *registers) number() int { return int(int32(r.Regs[8])) }

func (r *registers) args() (a [6]uint64) {
	copy(a[:], r.Regs[:])
	return a
}

// result is what the call gives; valid where it has ended.
func (r *registers) result() int64 { return int64(r.Regs[0]) }

// skip has the call, which has not begun, give value without being made.
func (r *registers) skip(tid int, value int64) error {
	if err := setNumber(tid, -1); err != nil {
		return err
	}
	r.Regs[0] = uint64(value)
	return r.set(tid)
}

// become makes the call, which has not begun, another one.
func (r *registers) become(tid, nr int, args [6]uint64) error {
	if err := setNumber(tid, nr); err != nil {
		return err
	}
	copy(r.Regs[:], args[:])
	r.Regs[8] = uint64(nr)
	return r.set(tid)
}

// again makes the thread, whose call has ended, make another one.
func (r *registers) again(tid, nr int, args [6]uint64) error {
	const instruction = 4 // bytes of SVC
	if err := setNumber(tid, -1); err != nil {
		return err
	}
	copy(r.Regs[:], args[:])
	r.Regs[8] = uint64(nr)
	r.Pc -= instruction
	return r.set(tid)
}

// end has the call, which has ended, give value.
func (r *registers) end(tid int, value int64) error {
	if err := setNumber(tid, r.number()); err != nil {
		return err
	}
	r.Regs[0] = uint64(value)
	return r.set(tid)
}

func setNumber(tid, nr int) error {
	n := int32(nr)
	return regset(unix.PTRACE_SETREGSET, tid, ntSystemCall, unsafe.Pointer(&n), unsafe.Sizeof(n))
}

// shares is what a call that has made a process has it share with its maker: flags of
// clone(2). What is not known is all.
func (r *registers) shares() uint64 {
	if r.number() == unix.SYS_CLONE {
		return r.Regs[0]
	}
	return ^uint64(0)
}
