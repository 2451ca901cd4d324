// The part of the launch that Go cannot do: between fork and exec no Go code may
// run, and what the Go runtime changes about the process as it starts (signal
// dispositions, the soft limit of open files, standard files that are closed) must
// be known from before it did.
#define _GNU_SOURCE
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_NEW_LISTENER
#define SECCOMP_FILTER_FLAG_NEW_LISTENER (1UL << 3)
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

// What the process was started with.
static struct {
	uint64_t ignored; // bit n-1: signal n was ignored
	sigset_t mask;
	struct rlimit nofile;
	mode_t umask;
	int closed[3]; // of the standard files
} inherited;

// Runs before the Go runtime, which installs handlers for nearly all signals and
// opens /dev/null in place of standard files that are closed.
__attribute__((constructor)) static void record_inherited(void) {
#ifdef __GLIBC__
	// One arena of memory for all threads: C code allocates next to nothing here,
	// and each thread would map one of its own as it starts.
	mallopt(M_ARENA_MAX, 1);
#endif
	for (int sig = 1; sig < NSIG; sig++) {
		struct sigaction old;
		if (sigaction(sig, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
			inherited.ignored |= 1ULL << (sig - 1);
	}
	sigprocmask(SIG_SETMASK, NULL, &inherited.mask);
	getrlimit(RLIMIT_NOFILE, &inherited.nofile);
	inherited.umask = umask(0); // there is no call that only reads it
	umask(inherited.umask);
	for (int fd = 0; fd < 3; fd++)
		inherited.closed[fd] = fcntl(fd, F_GETFD) < 0;
}

// In the place of a listener's number: the filter stands and has none.
enum { NO_LISTENER = 1 << 30 };

static void send_listener(int gate, int fd) {
	struct sidearmor_report r = {SIDEARMOR_FILTERED, 0};
	struct iovec io = {&r, sizeof r};
	char control[CMSG_SPACE(sizeof fd)];
	struct msghdr msg = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	memset(control, 0, sizeof control);
	if (fd == NO_LISTENER) {
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
	}
	struct cmsghdr *c = (struct cmsghdr *)control;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	while (sendmsg(gate, &msg, MSG_NOSIGNAL) < 0 && errno == EINTR) {
	}
}

static void fail(int gate, int step, int error) {
	struct sidearmor_report r = {step, error};
	while (write(gate, &r, sizeof r) < 0 && errno == EINTR) {
	}
	_exit(127);
}

// Sends the listener, if there is one once the other end of ready is closed. It runs
// in a process that has no filter, and the same open files as the one that loads it:
// sendmsg and write may be calls that are held.
static void send_for(const struct sidearmor_child *c, int ready, const volatile int *listener, pid_t parent) {
	char byte;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() == parent && read(ready, &byte, 1) == 0 && *listener >= 0)
		send_listener(c->gate, *listener);
	_exit(0);
}

// With CAP_SYS_PTRACE the workload could open the tracer's memory although the
// tracer is not dumpable. A process that lacks CAP_SETPCAP keeps the capability
// in its bounding set; it cannot be helped.
static void drop_sys_ptrace(void) {
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	uint32_t bit = 1U << CAP_SYS_PTRACE;
	prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_SYS_PTRACE, 0, 0);
	if (syscall(SYS_capget, &head, data))
		return;
	data[0].effective &= ~bit;
	data[0].permitted &= ~bit;
	data[0].inheritable &= ~bit;
	syscall(SYS_capset, &head, data);
}

static int load_filter(const struct sock_fprog *filter) {
	unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
	// Without WAIT_KILLABLE_RECV (Linux 5.19) every signal that interrupts a held
	// call makes it start again: a second notification for one call.
	int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, filter);
	if (fd < 0 && errno == EINVAL)
		fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, filter);
	return fd;
}

// Says whether another program listens to a filter above this process. It would be told
// of calls before a tracer is, and might let them run.
static int has_listener_above(void) {
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog filter = {1, &allow};
	int status = 0;
	// In a process of its own, for a filter that was loaded stays.
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
		_exit(fd < 0 && errno == EBUSY);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	return pid < 0 || status != 0;
}

static int load_traced_filter(const struct sock_fprog *filter) {
	if (has_listener_above()) {
		errno = EBUSY;
		return -1;
	}
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, filter) ? -1 : NO_LISTENER;
}

static void run_child(const struct sidearmor_child *c) {
	char go;
	close(c->parent_gate); // else the gate would not close when the tracer dies
	// Handlers go back to the default at exec by themselves; "ignored" does not
	// come back by itself.
	for (int sig = 1; sig < NSIG; sig++)
		if (inherited.ignored >> (sig - 1) & 1)
			signal(sig, SIG_IGN);
	setrlimit(RLIMIT_NOFILE, &inherited.nofile);
	umask(inherited.umask);
	// The tracer is not dumpable and this process is its copy; the tracer must be
	// able to read the arguments of the exec below.
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	drop_sys_ptrace();
	if (c->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		fail(c->gate, SIDEARMOR_PRIVS, errno);

	int ready[2], status;
	volatile int *listener = mmap(NULL, sizeof *listener, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (listener == MAP_FAILED || pipe2(ready, O_CLOEXEC))
		fail(c->gate, SIDEARMOR_FILTER, errno);
	pid_t parent = getpid();
	pid_t sender = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (sender == 0)
		send_for(c, ready[0], listener, parent);

	// From here on a held call would wait for a tracer that has no listener yet:
	// nothing between this and the answer at the gate is one.
	*listener = sender < 0 ? -1 : c->traced ? load_traced_filter(&c->filter) : load_filter(&c->filter);
	int error = errno;
	close(ready[1]);
	while (sender > 0 && waitpid(sender, &status, 0) < 0 && errno == EINTR) {
	}
	if (*listener < 0)
		fail(c->gate, SIDEARMOR_FILTER, error);
	if (*listener != NO_LISTENER)
		close(*listener);
	close(ready[0]);
	if (c->dies_with_tracer)
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); // should the tracer be dead already, the gate says so
	ssize_t n;
	while ((n = read(c->gate, &go, 1)) < 0 && errno == EINTR) {
	}
	if (n != 1)
		_exit(127); // the tracer is gone
	// The gate is not among them: while it was made, all three were open.
	for (int fd = 0; fd < 3; fd++)
		if (inherited.closed[fd])
			close(fd);
	sigprocmask(SIG_SETMASK, &inherited.mask, NULL);
	execve(c->path, c->argv, c->envp);
	fail(c->gate, SIDEARMOR_EXEC, errno);
}

// Returns the child's pid, or a negative errno.
int sidearmor_fork(const struct sidearmor_child *c) {
	sigset_t all, old;
	// No handler of the Go runtime may run in the child.
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	// Not vfork: a parent that is suspended until the child's exec cannot answer
	// the notification that this exec waits for. Not fork(3): its handlers take
	// locks that other threads may hold.
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		run_child(c);
	int error = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pid < 0 ? -error : (int)pid;
}

static int signal_pipe = -1;

static void on_signal(int signo, siginfo_t *info, void *context) {
	int saved = errno;
	struct sidearmor_signal s = {signo, info->si_code, info->si_code <= 0 ? info->si_pid : 0};
	(void)context;
	// A full pipe holds thousands of signals; one more is lost, as a pending
	// signal is when it is sent again.
	if (write(signal_pipe, &s, sizeof s) < 0) {
	}
	errno = saved;
}

// Says whether a signal was ignored at the start.
int sidearmor_ignored(int sig) { return inherited.ignored >> (sig - 1) & 1; }

// Reports the given signals to fd from now on, also those that were ignored at the
// start: the workload may handle them, and the Go runtime ends the program over some.
// Those of job control stay ignored, or a write to the terminal would not end. Returns
// 0 or a negative errno.
int sidearmor_watch(int fd, const int *signals, int count) {
	struct sigaction act;
	memset(&act, 0, sizeof act);
	act.sa_sigaction = on_signal;
	// SA_ONSTACK: the Go runtime's threads have small stacks.
	act.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
	sigfillset(&act.sa_mask);
	signal_pipe = fd;
	for (int i = 0; i < count; i++) {
		int sig = signals[i], control = sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
		if (control && sidearmor_ignored(sig))
			continue;
		if (sigaction(signals[i], &act, NULL))
			return -errno;
	}
	return 0;
}

// From now on no SIGCHLD tells that a child or a tracee has stopped: it would wake a
// thread for each exec that is followed, and whoever wants to know waits anyway.
// Returns 0 or a negative errno.
int sidearmor_wait_for_stops(void) {
	struct sigaction act;
	if (sigaction(SIGCHLD, NULL, &act))
		return -errno;
	act.sa_flags |= SA_NOCLDSTOP;
	return sigaction(SIGCHLD, &act, NULL) ? -errno : 0;
}
