// Signals that report faults end a process that gets them, and the Go runtime
// takes one that was sent for one that happened. The kernel keeps process 1 of a
// pid namespace from signals that it has no handler for; the runtime has one for
// each of these.
#include "launch.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

// What the Go runtime has installed.
static struct sigaction runtimes[NSIG];

// Says whether a signal came from another process. The kernel lets nobody forge
// SI_USER and SI_TKILL, and with these the sender is the real one. SIGABRT is
// never the kernel's; fcntl(F_SETSIG) sends it with a code that looks so.
static int sent_by_another(int signo, const siginfo_t *info) {
	if (info->si_code == SI_USER || info->si_code == SI_TKILL)
		return info->si_pid != getpid();
	return info->si_code <= 0 || signo == SIGABRT;
}

static void on_fault(int signo, siginfo_t *info, void *context) {
	const struct sigaction *next = &runtimes[signo];
	if (getpid() == 1 && sent_by_another(signo, info))
		return;
	if (next->sa_flags & SA_SIGINFO) {
		next->sa_sigaction(signo, info, context);
	} else if (next->sa_handler == SIG_DFL) {
		signal(signo, SIG_DFL);
		raise(signo); // comes when this handler returns
	} else if (next->sa_handler != SIG_IGN) {
		next->sa_handler(signo);
	}
}

// From now on faults that another process sends to process 1 are ignored. Real
// ones, and all of them where this is not process 1, stay the runtime's. Returns
// 0 or a negative errno.
int sidearmor_guard_faults(void) {
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
		struct sigaction act;
		if (sigaction(faults[i], NULL, &runtimes[faults[i]]))
			return -errno;
		act = runtimes[faults[i]];
		act.sa_sigaction = on_fault;
		// SA_ONSTACK: the Go runtime's threads have small stacks.
		act.sa_flags |= SA_SIGINFO | SA_ONSTACK;
		if (sigaction(faults[i], &act, NULL))
			return -errno;
	}
	return 0;
}
