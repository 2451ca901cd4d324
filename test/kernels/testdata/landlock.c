/* landlock DIR: forbids itself, by Landlock, everything with files but reading
 * below DIR, and prints what it can still open; or that the kernel has none. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void show(const char *what, const char *path, int flags)
{
	int fd = open(path, flags, 0600);

	printf("%s %s: %s\n", what, path, fd < 0 ? strerror(errno) : "open");
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct landlock_ruleset_attr all = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_WRITE_FILE |
				     LANDLOCK_ACCESS_FS_MAKE_REG,
	};
	struct landlock_path_beneath_attr below = {.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE};

	if (argc != 2)
		return 2;
	int rules = syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);
	if (rules < 0) {
		printf("no Landlock: %s\n", strerror(errno));
		return 0;
	}
	below.parent_fd = open(argv[1], O_PATH);
	if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &below, 0))
		return perror("rule"), 1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_landlock_restrict_self, rules, 0))
		return perror("restrict"), 1;
	show("read", "inside/file", O_RDONLY);
	show("write", "inside/file", O_WRONLY);
	show("make", "inside/new", O_WRONLY | O_CREAT);
	show("list", "inside", O_RDONLY | O_DIRECTORY);
	show("read", "/srv/public", O_RDONLY);
	show("make", "new", O_WRONLY | O_CREAT);
	return 0;
}
