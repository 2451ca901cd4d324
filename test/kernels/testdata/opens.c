/* opens DIR: opens and makes files in every way that a caller can see a
 * difference in, below the directory DIR, and prints what happens. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static const struct {
	const char *name;
	int flags;
} ways[] = {
	{"read", O_RDONLY},
	{"write", O_WRONLY},
	{"both", O_RDWR | O_CLOEXEC},
	{"make", O_RDWR | O_CREAT},
	{"make new", O_WRONLY | O_CREAT | O_EXCL},
	{"truncate", O_WRONLY | O_TRUNC},
	{"append", O_WRONLY | O_APPEND | O_CREAT},
	{"directory", O_RDONLY | O_DIRECTORY},
	{"no link", O_RDONLY | O_NOFOLLOW},
	{"nonblock", O_RDONLY | O_NONBLOCK},
	{"sync", O_RDWR | O_SYNC},
	{"path", O_PATH},
	{"unnamed", O_TMPFILE | O_RDWR},
	{"unnamed, stays so", O_TMPFILE | O_WRONLY | O_EXCL},
};

static const char *const files[] = {
	"file", "private", "read-only", "dir", "dir/file", "dir/", "closed/file", "group/new", "listed/new", "link", "dangling",
	"loop", "missing", "missing/file", "file/below", ".", "..", "", "dir/../file", "/dev/null", "/dev/zero", "/proc/self/status",
	"/proc/self/cwd/file", "/proc/self/fd/0", "/proc/self/root/dev/null",
};

static const mode_t masks[] = {0, 022, 027, 077, 0777};
static const mode_t modes[] = {0666, 0640, 0777, 06755, 01777, 0};

/* What a descriptor shows, or the error. O_NOFOLLOW has done its work once a
 * file is open, and may be missing among its flags. */
static void show(const char *what, const char *path, int fd)
{
	struct stat st;

	if (fd < 0) {
		printf("%s %s: %s\n", what, path, strerror(errno));
		return;
	}
	fstat(fd, &st);
	printf("%s %s: fd %d mode %o owner %d:%d size %d links %d flags %x, %d\n", what, path, fd, st.st_mode, st.st_uid, st.st_gid,
	       S_ISREG(st.st_mode) && strncmp(path, "/proc", 5) ? (int)st.st_size : 0, (int)st.st_nlink,
	       fcntl(fd, F_GETFL) & ~O_NOFOLLOW, fcntl(fd, F_GETFD));
	close(fd);
}

static void put(const char *path, const char *content, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	if (fd < 0 || write(fd, content, strlen(content)) < 0 || fchmod(fd, mode) || close(fd))
		perror(path);
}

/* A default access list for a directory: the mask then says nothing, the list all. */
static void list(const char *path)
{
	static const unsigned char acl[] = {
		2, 0, 0, 0, /* version */
		1, 0, 7, 0, 255, 255, 255, 255, /* owner: rwx */
		2, 0, 6, 0, 0xd2, 4, 0, 0, /* user 1234: rw- */
		4, 0, 5, 0, 255, 255, 255, 255, /* group: r-x */
		16, 0, 7, 0, 255, 255, 255, 255, /* mask: rwx */
		32, 0, 4, 0, 255, 255, 255, 255, /* others: r-- */
	};

	if (setxattr(path, "system.posix_acl_default", acl, sizeof acl, 0))
		printf("access list: %s\n", strerror(errno));
}

static void prepare(void)
{
	umask(0);
	mkdir("dir", 0755);
	mkdir("closed", 0);
	mkdir("group", 0755);
	if (chown("group", -1, geteuid() ? getegid() : 4321) || chmod("group", 02777))
		perror("group");
	mkdir("listed", 0777);
	list("listed");
	put("file", "content", 0644);
	put("private", "content", 0600);
	put("read-only", "content", 0444);
	put("dir/file", "content", 0644);
	if (symlink("file", "link") || symlink("target", "dangling") || symlink("loop", "loop"))
		perror("symlink");
}

int main(int argc, char **argv)
{
	char what[64];

	if (argc != 2 || mkdir(argv[1], 0777) || chdir(argv[1]))
		return perror("opens DIR"), 2;
	prepare();
	umask(027);
	for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
		for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
			show(ways[w].name, files[f], open(files[f], ways[w].flags, 0666));
			unlink("missing");
			unlink("target");
			unlink("group/new");
			unlink("listed/new");
		}
	for (size_t u = 0; u < sizeof masks / sizeof *masks; u++)
		for (size_t m = 0; m < sizeof modes / sizeof *modes; m++)
			for (const char *const *dir = (const char *const[]){"dir", "group", "listed", NULL}; *dir; dir++) {
				umask(masks[u]);
				snprintf(what, sizeof what, "mask %o, mode %o,", masks[u], modes[m]);
				if (chdir(*dir))
					return perror(*dir), 2;
				show(what, *dir, creat("made", modes[m]));
				unlink("made");
				show(what, *dir, openat(AT_FDCWD, "made", O_RDWR | O_CREAT | O_EXCL, modes[m]));
				unlink("made");
				show(what, *dir, open(".", O_TMPFILE | O_RDWR, modes[m]));
				if (chdir(".."))
					return perror(".."), 2;
			}
	return 0;
}
