package notify

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of seccomp_unotify(2) on the listener (include/uapi/linux/seccomp.h,
// the same numbers on amd64 and arm64).
const (
	ioctlRecv     = 0xc0502100
	ioctlSend     = 0xc0182101
	ioctlIDValid  = 0x40082102
	ioctlAddFD    = 0x40182103
	ioctlSetFlags = 0x40082104

	flagContinue   = 1 // let the call run
	flagAddFDSetFD = 1 // install the descriptor under a given number
	flagAddFDSend  = 2 // Linux 5.14: install the descriptor and return it, in one step
	flagSyncWakeUp = 1 // Linux 6.6: wake the other side on this CPU, it is about to be waited for
)

// Flags of seccomp(2) that package launch loads the filter with.
const (
	filterFlagNewListener      = 1 << 3
	filterFlagWaitKillableRecv = 1 << 5 // Linux 5.19: only a deadly signal ends the wait of a received call
)

// errnoRestart is ERESTARTSYS. The kernel never shows it to a program that has a
// signal to handle: it restarts the call or fails it with EINTR, as the handler
// was installed (signal(7)).
const errnoRestart = 512

// notification is struct seccomp_notif, response struct seccomp_notif_resp,
// addition struct seccomp_notif_addfd.
type (
	notification struct {
		id    uint64
		pid   uint32
		flags uint32
		nr    int32
		arch  uint32
		ip    uint64
		args  [6]uint64
	}
	response struct {
		id    uint64
		val   int64
		errno int32
		flags uint32
	}
	addition struct {
		id         uint64
		flags      uint32
		srcFD      uint32
		newFD      uint32
		newFDFlags uint32
	}
)

// listener is the descriptor that the calls come from. Its requests are made
// again when a signal interrupts them: none of them has had an effect then. (The
// one for which that is not so, a descriptor sent in one step, is made by threads
// that take no signals.)
type listener int

// receive waits for the next call. EINTR is for the caller to deal with: it is
// how a waiting thread is called back.
func (l listener) receive(n *notification) unix.Errno {
	*n = notification{} // the kernel insists on zeroes
	_, errno := l.wait(ioctlRecv, unsafe.Pointer(n))
	return errno
}

// valid says whether the call id still waits. Doubt is false.
func (l listener) valid(id uint64) bool {
	for {
		_, errno := l.quick(ioctlIDValid, unsafe.Pointer(&id))
		if errno != unix.EINTR {
			return errno == 0
		}
	}
}

// send answers a call.
func (l listener) send(r *response) unix.Errno {
	for {
		_, errno := l.quick(ioctlSend, unsafe.Pointer(r))
		if errno != unix.EINTR {
			return errno
		}
	}
}

// add gives the caller a descriptor and returns its number.
func (l listener) add(a *addition) (int, unix.Errno) {
	for {
		n, errno := l.wait(ioctlAddFD, unsafe.Pointer(a))
		if errno != unix.EINTR {
			return n, errno
		}
	}
}

// preferThisCPU asks for wake-ups on the CPU of the caller. Older kernels have no
// such flag; they only lose the speed.
func (l listener) preferThisCPU() {
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(l), ioctlSetFlags, flagSyncWakeUp)
}

// wait makes a request that may block.
func (l listener) wait(request uintptr, p unsafe.Pointer) (int, unix.Errno) {
	value, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l), request, uintptr(p))
	return int(value), errno
}

// quick makes a request that does not block, without telling Go's scheduler.
func (l listener) quick(request uintptr, p unsafe.Pointer) (int, unix.Errno) {
	value, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(l), request, uintptr(p))
	return int(value), errno
}

// Serves says whether the kernel can do with a listener what the engine needs: let calls
// run and hand over descriptors (Linux 5.9).
func Serves(l *os.File) bool {
	none := addition{srcFD: ^uint32(0)}
	_, errno := listener(l.Fd()).add(&none)
	return errno == unix.EBADF // it has looked at the descriptor
}

// waitsKillable says whether only a deadly signal can come between a call's receipt and
// its answer: the kernel has WAIT_KILLABLE_RECV. A filter that is no filter is
// refused with EFAULT where the flags are known.
func waitsKillable() bool {
	const setModeFilter = 1
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, filterFlagNewListener|filterFlagWaitKillableRecv, 0)
	return errno == unix.EFAULT
}
