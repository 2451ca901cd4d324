#ifndef SIDEARMOR_LAUNCH_H
#define SIDEARMOR_LAUNCH_H

#include <linux/filter.h>
#include <stdint.h>

// What the child does between fork and exec.
struct sidearmor_child {
	int gate;               // the child's end of the gate, a SOCK_SEQPACKET socket
	int parent_gate;        // the parent's end, of which the child holds a copy
	const char *path;       // program
	char *const *argv;
	char *const *envp;
	struct sock_fprog filter;
	int no_new_privs;       // set no_new_privs before the filter is loaded
	int dies_with_tracer;   // killed when the thread that forked it ends
	int traced;             // the filter traces: it has no listener
};

// Steps of the child, as it reports them.
enum sidearmor_step {
	SIDEARMOR_FILTERED = 1, // the filter stands; the message carries its listener, if it has one
	SIDEARMOR_PRIVS,
	SIDEARMOR_FILTER,
	SIDEARMOR_GATE,
	SIDEARMOR_EXEC,
};

// A report of the child: error is 0 with SIDEARMOR_FILTERED, an errno otherwise.
struct sidearmor_report {
	int32_t step;
	int32_t error;
};

// A signal that reached the tracer.
struct sidearmor_signal {
	int32_t signo;
	int32_t code; // si_code: SI_KERNEL for one that the terminal sent
	int32_t pid;  // sender, where the code says that there is one
};

int sidearmor_fork(const struct sidearmor_child *c);
int sidearmor_guard_faults(void);
int sidearmor_wait_for_stops(void);
int sidearmor_ignored(int sig);
int sidearmor_watch(int fd, const int *signals, int count);

#endif
