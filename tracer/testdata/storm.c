/* storm quiet|storm PUBLIC SECRET TRIES: threads open both files again and again, while a process sends signals to each thread
 * of the parent, which is the tracer. Prints what should not have been; nothing if all was well. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, MOST = 256 };

static const char *public, *secret;
static int tries, zero, leaked, failed, wrong, last;

static void *loop(void *unused)
{
	char text[16] = "";

	for (int i = 0; i < tries / THREADS; i++) {
		int fd = open(public, O_RDONLY);

		if (fd < 0) {
			__sync_fetch_and_add(&failed, 1);
			last = errno;
		} else if (fd <= 2) {
			__sync_fetch_and_add(&zero, 1);
		} else {
			if (pread(fd, text, sizeof text - 1, 0) != 7 || strcmp(text, "public\n") != 0)
				__sync_fetch_and_add(&wrong, 1);
			close(fd);
		}
		fd = open(secret, O_RDONLY);
		if (fd >= 0 || errno != EACCES)
			__sync_fetch_and_add(&leaked, 1);
	}
	return unused;
}

static void send(pid_t tracer)
{
	static const int signals[] = {SIGWINCH, SIGURG, SIGCONT};
	int tids[MOST], n = 0;
	char path[64];
	struct dirent *e;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(path, sizeof path, "/proc/%d/task", tracer);
	DIR *dir = opendir(path);
	while (dir && n < MOST && (e = readdir(dir)))
		if (atoi(e->d_name))
			tids[n++] = atoi(e->d_name);
	if (!n)
		_exit(1);
	for (unsigned i = 0;; i++)
		syscall(SYS_tgkill, tracer, tids[i % n], signals[i / n % 3]);
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	pid_t tracer = getppid(), sender = 0;
	int status = 0;

	if (argc != 5)
		return 2;
	public = argv[2];
	secret = argv[3];
	tries = atoi(argv[4]);
	if (strcmp(argv[1], "storm") == 0 && !(sender = fork()))
		send(tracer);
	if (sender < 0)
		return 3; /* never to be used as a process id */
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, loop, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	if (sender) {
		if (waitpid(sender, &status, WNOHANG) != 0)
			puts("the tracer's threads could not be listed");
		kill(sender, SIGKILL);
		waitpid(sender, NULL, 0);
	}
	if (zero || leaked || failed || wrong)
		printf("descriptor of a standard file: %d, denied opened: %d, failed: %d (%s), another file: %d\n", zero, leaked, failed, strerror(last), wrong);
	return 0;
}
