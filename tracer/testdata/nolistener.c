/* nolistener WHAT CMD [ARG ...]: runs CMD where no listener for held calls can be had. refuse: a filter fails the request
 * with EINVAL, as an old kernel does; alone: ptrace fails too; profile: both fail with EPERM, as by a container's seccomp
 * profile; lacks, lacks-all: the request, or both, fail with ENOSYS, as in a kernel of another kind; no-filters: so does
 * seccomp whatever it is asked; listen: this program has the listener. take: a listener can be
 * had, and no descriptor of another process by pidfd_getfd, as by the usual profile of containers. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NEW_LISTENER = 1 << 3 };

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	int listen = !strcmp(what, "listen"), all = !strcmp(what, "no-filters");
	int alone = all || !strcmp(what, "alone") || !strcmp(what, "profile") || !strcmp(what, "lacks-all");
	int error = !strcmp(what, "profile") ? EPERM : strcmp(what, "refuse") && strcmp(what, "alone") ? ENOSYS : EINVAL;
	struct sock_filter refuse[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, alone ? SYS_ptrace : ~0u, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[all ? 0 : 1])),
		BPF_JUMP(all ? BPF_JMP | BPF_JEQ | BPF_K : BPF_JMP | BPF_JSET | BPF_K, all ? SECCOMP_SET_MODE_FILTER : NEW_LISTENER, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_filter take[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_getfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = {sizeof refuse / sizeof *refuse, refuse};

	if (argc < 3)
		return 2;
	if (argc > 2 && !strcmp(argv[1], "take"))
		prog = (struct sock_fprog){sizeof take / sizeof *take, take};
	if (listen)
		prog = (struct sock_fprog){1, &allow};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, listen ? NEW_LISTENER : 0, &prog);
	if (fd < 0 || (listen && fcntl(fd, F_SETFD, 0)))
		return perror("seccomp"), 2;
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 2;
}
