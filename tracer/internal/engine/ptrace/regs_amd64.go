package ptrace

import "golang.org/x/sys/unix"

// registers are those of a thread that has stopped in a call.
type registers unix.PtraceRegs

// number is the call's.
func (r *registers) number() int { return int(int64(r.Orig_rax)) }

func (r *registers) args() [6]uint64 { return [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9} }

func (r *registers) setArgs(a [6]uint64) {
	r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9 = a[0], a[1], a[2], a[3], a[4], a[5]
}

// result is what the call gives; valid where it has ended.
func (r *registers) result() int64 { return int64(r.Rax) }

// skip has the call, which has not begun, give value without being made.
func (r *registers) skip(tid int, value int64) error {
	r.Orig_rax, r.Rax = ^uint64(0), uint64(value)
	return r.set(tid)
}

// become makes the call, which has not begun, another one.
func (r *registers) become(tid, nr int, args [6]uint64) error {
	r.Orig_rax = uint64(nr)
	r.setArgs(args)
	return r.set(tid)
}

// again makes the thread, whose call has ended, make another one.
func (r *registers) again(tid, nr int, args [6]uint64) error {
	const instruction = 2 // bytes of SYSCALL
	r.Orig_rax, r.Rax = ^uint64(0), uint64(nr)
	r.Rip -= instruction
	r.setArgs(args)
	return r.set(tid)
}

// end has the call, which has ended, give value.
func (r *registers) end(tid int, value int64) error {
	r.Rax = uint64(value)
	return r.set(tid)
}

// shares is what a call that has made a process has it share with its maker: flags of
// clone(2). What is not known is all.
func (r *registers) shares() uint64 {
	switch r.number() {
	case unix.SYS_CLONE:
		return r.Rdi
	case unix.SYS_FORK:
		return 0
	}
	return ^uint64(0)
}
