package ptrace

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests, options and stops that x/sys lacks (include/uapi/linux/ptrace.h).
const (
	getSigmask = 0x420a
	setSigmask = 0x420b

	eventStop = 128 // a new thread, an interruption, or a stop by job control
	// syscallStop is the signal of a stop at the beginning or the end of a call.
	syscallStop = unix.SIGTRAP | 0x80
	prStatus    = 1 // NT_PRSTATUS

	options = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESYSGOOD |
		unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK
)

// request makes a request of ptrace(2). None of them blocks, so Go's scheduler is
// not told. ESRCH says that the thread is not stopped any more: it has been killed,
// and its end is told of by a wait.
func request(what, tid int, addr, data uintptr) error {
	if _, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(what), uintptr(tid), addr, data, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

func regset(what, tid int, set uintptr, p unsafe.Pointer, size uintptr) error {
	v := unix.Iovec{Base: (*byte)(p)}
	v.SetLen(int(size))
	if _, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(what), uintptr(tid), set, uintptr(unsafe.Pointer(&v)), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

func (r *registers) get(tid int) error {
	return regset(unix.PTRACE_GETREGSET, tid, prStatus, unsafe.Pointer(r), unsafe.Sizeof(*r))
}

func (r *registers) set(tid int) error {
	return regset(unix.PTRACE_SETREGSET, tid, prStatus, unsafe.Pointer(r), unsafe.Sizeof(*r))
}

// message is what the event of a stop tells beside it.
func message(tid int) (int, error) {
	var m uint64
	if _, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GETEVENTMSG, uintptr(tid), 0, uintptr(unsafe.Pointer(&m)), 0, 0); errno != 0 {
		return 0, errno
	}
	return int(m), nil
}

// signalMask changes which signals a stopped thread does not take, and gives what it was.
func signalMask(tid int, mask uint64) (old uint64, err error) {
	for _, m := range []struct {
		what int
		set  *uint64
	}{{getSigmask, &old}, {setSigmask, &mask}} {
		if _, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(m.what), uintptr(tid), 8, uintptr(unsafe.Pointer(m.set)), 0, 0); errno != 0 {
			return 0, errno
		}
	}
	return old, nil
}

const word = 8

// poke writes whole words into the memory of a stopped thread.
func poke(tid int, addr uint64, b []byte) error {
	for ; len(b) > 0; b, addr = b[word:], addr+word {
		if err := request(unix.PTRACE_POKEDATA, tid, uintptr(addr), uintptr(binary.NativeEndian.Uint64(b))); err != nil {
			return err
		}
	}
	return nil
}

// peek reads whole words of it.
func peek(tid int, addr uint64, b []byte) error {
	for ; len(b) > 0; b, addr = b[word:], addr+word {
		var v uint64
		if _, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_PEEKDATA, uintptr(tid), uintptr(addr), uintptr(unsafe.Pointer(&v)), 0, 0); errno != 0 {
			return errno
		}
		binary.NativeEndian.PutUint64(b, v)
	}
	return nil
}
