// Package interrupt calls a thread of this program back from a system call that
// waits.
package interrupt

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

	"golang.org/x/sys/unix"
)

// Signal is what a thread is called back with. No profiler runs in this program,
// and package launch passes it to nobody.
const Signal = unix.SIGPROF

// Catch makes Signal do nothing but fail a system call that waits with EINTR. It
// must come before the first Thread, and may come again.
func Catch() error {
	if e := C.sidearmor_install_interrupt(C.int(Signal)); e != 0 {
		return fmt.Errorf("catching signal %d: %w", Signal, unix.Errno(e))
	}
	return nil
}

// Thread calls the thread tid back. A call that does not wait yet is not
// interrupted.
func Thread(tid int) {
	_ = unix.Tgkill(os.Getpid(), tid, Signal) // ESRCH: it has ended by itself
}
