/* openraces KIND FROM SECRET TRIES: opens FROM again and again, while something that leads the kernel there is changed to lead to
 * SECRET and back:
 *   openat2  the name in memory, by a thread; the flags in memory change as well, to O_PATH and back
 *   cut      the name in memory, by a thread; the file is opened with O_CREAT and O_TRUNC
 *   creat    the same, by creat, where there is such a call
 *   cwd      the working directory, by a thread; FROM and SECRET have the same name in two directories
 *   dirfd    the directory's descriptor, by a thread; as before
 *   link     a symbolic link, by a process
 *   dirlink  a symbolic link to the directory, by a process
 *   self     the name in memory, a descriptor's below /proc/self/fd; the descriptor is changed by a thread
 * Prints how often it got SECRET's file, whether it opened any, and SECRET's size. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *kind, *from, *secret, *name;
static volatile char path[512];
static volatile struct { uint64_t flags, mode, resolve; } how;
static volatile int stop;
static char dirs[2][512], self[64];
static int fds[2], fd;

static int is(const char *what) { return strcmp(kind, what) == 0; }

static void set(const char *to)
{
	for (size_t i = 0; i <= strlen(to); i++)
		path[i] = to[i];
}

static void replace(const char *link, const char *to)
{
	char new[64];

	snprintf(new, sizeof new, "%s.new", link);
	unlink(new);
	if (symlink(to, new) == 0)
		rename(new, link);
}

static void turn(int to)
{
	if (is("cwd")) {
		if (chdir(dirs[to]))
			_exit(3);
	} else if (is("dirfd") || is("self")) {
		dup2(fds[to], fd);
	} else if (is("link")) {
		replace("link", to ? secret : from);
	} else if (is("dirlink")) {
		replace("dirlink", dirs[to]);
	} else {
		how.flags = to ? O_RDONLY : O_PATH;
		set(to ? secret : from);
	}
}

static void *change(void *unused)
{
	while (!stop) {
		turn(1);
		turn(0);
	}
	return unused;
}

static int try(void)
{
	if (is("openat2"))
		return syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
	if (is("cut"))
		return open((const char *)path, O_CREAT | O_TRUNC | O_RDWR, 0600);
	if (is("creat"))
		return creat((const char *)path, 0600);
	if (is("cwd"))
		return open(name, O_RDONLY);
	if (is("dirfd"))
		return openat(fd, name, O_RDONLY);
	if (is("link"))
		return open("link", O_RDWR);
	if (is("dirlink"))
		return open(self, O_RDONLY);
	return open(self, O_RDONLY);
}

int main(int argc, char **argv)
{
	struct stat want, got;
	int wins = 0, opens = 0;
	pid_t changer = 0;
	pthread_t thread;

	if (argc != 5)
		return 2;
	kind = argv[1];
	from = argv[2];
	secret = argv[3];
	name = basename(strdup(from));
	if (stat(secret, &want))
		return 1;
	for (int i = 0; i < 2; i++) {
		snprintf(dirs[i], sizeof dirs[i], "%s", argv[2 + i]);
		dirname(dirs[i]);
		fds[i] = open(is("self") ? argv[2 + i] : dirs[i], O_PATH);
	}
	fd = dup(fds[0]);
	if (is("dirlink"))
		snprintf(self, sizeof self, "dirlink/%s", name);
	else
		snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	turn(0);
	if (is("link") || is("dirlink")) {
		if (!(changer = fork())) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			change(NULL);
		}
		if (changer < 0)
			return 3;
	} else {
		pthread_create(&thread, NULL, change, NULL);
	}
	for (int tries = atoi(argv[4]); tries > 0; tries--) {
		int f = try();

		if (f < 0)
			continue;
		opens++;
		fstat(f, &got);
		/* A descriptor that only names the file has not opened it. */
		if (got.st_ino == want.st_ino && got.st_dev == want.st_dev && !(fcntl(f, F_GETFL) & O_PATH))
			wins++;
		close(f);
	}
	stop = 1;
	if (changer > 0) {
		kill(changer, SIGKILL);
		waitpid(changer, NULL, 0);
	} else {
		pthread_join(thread, NULL);
	}
	stat(secret, &got);
	printf("%d %d %ld\n", wins, opens > 0, (long)got.st_size);
	return 0;
}
