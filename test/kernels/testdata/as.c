/* as WHO COMMAND...: executes COMMAND as root (everything that root may), as
 * container (root of a container with Docker's capabilities) or as user (user
 * 1000 of such a container, who has no capabilities). */
#define _GNU_SOURCE
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(n) (1u << (n))

/* All of Docker's capabilities but CAP_SETFCAP are among the first 32. */
static const unsigned docker[2] = {
	BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_KILL) | BIT(CAP_SETGID) |
		BIT(CAP_SETUID) | BIT(CAP_SETPCAP) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_NET_RAW) | BIT(CAP_SYS_CHROOT) |
		BIT(CAP_MKNOD) | BIT(CAP_AUDIT_WRITE) | BIT(CAP_SETFCAP),
	0,
};

static int contain(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{docker[0], docker[0], 0}, {0, 0, 0}};

	for (int n = 0; n < 64; n++)
		if (!(docker[n / 32] & BIT(n % 32)) && prctl(PR_CAPBSET_READ, n, 0, 0, 0) == 1 && prctl(PR_CAPBSET_DROP, n, 0, 0, 0))
			return -1;
	return syscall(SYS_capset, &header, data);
}

static int become_user(void)
{
	return setgroups(0, NULL) || setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000) ? -1 : 0;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	int user = !strcmp(argv[1], "user");
	/* A user who is dropped to from within a container cannot and need not shrink the set again. */
	if ((user || !strcmp(argv[1], "container")) && geteuid() == 0 && contain())
		return perror("capabilities"), 2;
	if (user && become_user())
		return perror("user"), 2;
	execvp(argv[2], argv + 2);
	return perror(argv[2]), 127;
}
