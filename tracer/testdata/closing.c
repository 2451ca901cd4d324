/* closing: what has been closed is closed for others too, at once; and what is open is open once. Each line counts, of
 * many tries, those in which it was not so. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIES = 100 };

static void locks(void)
{
	int locked = 0, posix = 0;
	struct flock all = {.l_type = F_WRLCK};

	for (int i = 0; i < TRIES; i++) {
		int b = open("f", O_RDWR), a = open("f", O_RDWR);

		flock(a, LOCK_EX);
		close(a);
		locked += flock(b, LOCK_EX | LOCK_NB) != 0;
		close(b);
		a = open("f", O_RDWR), b = open("f", O_RDWR);
		fcntl(a, F_OFD_SETLK, &all);
		close(a);
		posix += fcntl(b, F_OFD_SETLK, &all) != 0;
		close(b);
	}
	printf("locked: %d\nlocked by description: %d\n", locked, posix);
}

/* A lease can be had by the only one who has the file open. */
static void leases(void)
{
	int refused = 0, read_refused = 0;

	for (int i = 0; i < TRIES; i++) {
		int a = open("f", O_RDWR);

		refused += fcntl(a, F_SETLEASE, F_WRLCK) != 0;
		close(a);
		a = open("f", O_RDONLY);
		read_refused += fcntl(a, F_SETLEASE, F_RDLCK) != 0;
		close(a);
	}
	printf("no lease: %d\nno lease to read: %d\n", refused, read_refused);
}

/* A program that has been written and closed can be executed. */
static void programs(void)
{
	int busy = 0, status, in = open("/bin/true", O_RDONLY);
	static char program[1 << 20];
	ssize_t n = read(in, program, sizeof program);

	for (int i = 0; i < TRIES; i++) {
		int fd = open("program", O_CREAT | O_TRUNC | O_WRONLY, 0755);

		if (fd < 0 || write(fd, program, n) != n)
			puts("not written");
		close(fd);
		pid_t pid = vfork();
		if (!pid) {
			execl("program", "program", NULL);
			_exit(errno);
		}
		waitpid(pid, &status, 0);
		busy += status != 0;
		unlink("program");
	}
	printf("text busy: %d\n", busy);
}

/* Whoever reads a pipe is told of its end, and whoever writes to it that nobody reads. */
static void pipes(void)
{
	int no_end = 0, no_signal = 0;
	char c;

	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < TRIES; i++) {
		int r = open("fifo", O_RDONLY | O_NONBLOCK), w = open("fifo", O_WRONLY);

		close(w);
		no_end += read(r, &c, 1) != 0;
		close(r);
		r = open("fifo", O_RDONLY | O_NONBLOCK), w = open("fifo", O_WRONLY);
		close(r);
		no_signal += write(w, "x", 1) != -1 || errno != EPIPE;
		close(w);
	}
	printf("no end: %d\nno broken pipe: %d\n", no_end, no_signal);
}

static void mounts(void)
{
	int busy = 0, unreachable = 0, n = 0;

	if (mount("none", "mnt", "tmpfs", 0, 0)) {
		printf("mount: %s\n", strerror(errno));
		return;
	}
	umount("mnt");
	for (; n < TRIES && !mount("none", "mnt", "tmpfs", 0, 0); n++) {
		int fd = open("mnt/f", O_CREAT | O_WRONLY, 0600);

		unreachable += fd < 0;
		close(fd);
		fd = open("mnt/f", O_RDONLY);
		close(fd);
		close(open("mnt", O_TMPFILE | O_RDWR, 0600));
		close(open("mnt/no", O_RDONLY));
		close(open("mnt/f", O_CREAT | O_EXCL, 0600));
		if (umount("mnt")) {
			busy++;
			umount2("mnt", MNT_DETACH);
		}
	}
	printf("mounts: %d\n", n - unreachable);
	printf("busy: %d\n", busy);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	close(open("f", O_CREAT | O_RDWR, 0600));
	mkfifo("fifo", 0600);
	mkdir("mnt", 0755);
	locks();
	leases();
	programs();
	pipes();
	mounts();
	return 0;
}
