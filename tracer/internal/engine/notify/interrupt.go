package notify

/*
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

static void interrupted(int signo) { (void)signo; }

// Without SA_RESTART, so that a system call that waits fails with EINTR.
static int sidearmor_install_interrupt(int signo) {
	struct sigaction act;
	memset(&act, 0, sizeof act);
	act.sa_handler = interrupted;
	act.sa_flags = SA_ONSTACK;
	sigfillset(&act.sa_mask);
	return sigaction(signo, &act, NULL) ? errno : 0;
}
*/
import "C"

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// interruptSignal calls a worker's thread back from a system call that waits. No
// profiler runs in this program, and package launch passes it to nobody.
const interruptSignal = unix.SIGPROF

// catchInterrupts makes interruptSignal do nothing but interrupt.
func catchInterrupts() error {
	if e := C.sidearmor_install_interrupt(C.int(interruptSignal)); e != 0 {
		return fmt.Errorf("notify: catching signal %d: %w", interruptSignal, unix.Errno(e))
	}
	return nil
}

// blockSignals keeps all signals but interruptSignal from this OS thread. The Go
// runtime interrupts running threads by SIGURG, and the workload can send signals
// to each thread of the tracer: an interrupted request could leave a call
// answered with something else than was meant. (Without SIGURG a goroutine is
// preempted at its function calls only, which is often enough for it.)
//
// Precondition: the goroutine is locked to its thread and ends with it.
func blockSignals() error {
	set := ^uint64(0) &^ (1 << (interruptSignal - 1))
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&set)), 0, unsafe.Sizeof(set), 0, 0); errno != 0 {
		return fmt.Errorf("blocking signals: %w", errno)
	}
	return nil
}

// interrupt calls the thread tid back.
func interrupt(tid int) {
	_ = unix.Tgkill(os.Getpid(), tid, interruptSignal) // ESRCH: it has ended by itself
}
