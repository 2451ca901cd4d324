package interrupt

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Block keeps all signals but Signal from this OS thread. The Go
// runtime interrupts running threads by SIGURG, and the workload can send signals
// to each thread of the tracer: an interrupted request could leave a call
// answered with something else than was meant. (Without SIGURG a goroutine is
// preempted at its function calls only, which is often enough for it.)
//
// Precondition: the goroutine is locked to its thread and ends with it.
func Block() error { return setMask(^uint64(0) &^ (1 << (Signal - 1))) }

// BlockAll keeps Signal from this OS thread as well, until Block.
func BlockAll() { _ = setMask(^uint64(0)) } // the kernel takes any mask

func setMask(set uint64) error {
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&set)), 0, unsafe.Sizeof(set), 0, 0); errno != 0 {
		return fmt.Errorf("blocking signals: %w", errno)
	}
	return nil
}
