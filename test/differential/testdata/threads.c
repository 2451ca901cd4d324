/* Threads and children that open, lock and close files all at once, with signals
 * coming in. Every descriptor must be of the file that was asked for, and free again
 * once it was closed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 10000 };

static int locks;
static atomic_int wrong, failed, missing, locked, standard, done;

static void handler(int sig) { (void)sig; }

static void *work(void *arg)
{
	long me = (long)arg;
	char name[32], text[32], got[32];

	snprintf(name, sizeof name, "file%ld", me);
	snprintf(text, sizeof text, "text %ld\n", me);
	for (int i = 0; i < ROUNDS; i++) {
		int fd = open(name, i % 2 ? O_RDWR : O_RDWR | O_CLOEXEC);
		if (fd < 0) {
			failed++;
			continue;
		}
		if (fd <= 2)
			standard++;
		if (locks && flock(fd, LOCK_EX | LOCK_NB) != 0)
			locked++;
		ssize_t n = pread(fd, got, sizeof got, 0);
		if (n != (ssize_t)strlen(text) || memcmp(got, text, n) != 0)
			wrong++;
		if (close(fd) != 0)
			wrong++;
		if (i % 5 == 0 && (open("nosuch", O_RDONLY) != -1 || errno != ENOENT))
			missing++;
	}
	done++;
	return NULL;
}

static void children(void)
{
	for (int i = 0; i < 30; i++) {
		pid_t pid = vfork();
		if (pid == 0) {
			execl("/bin/true", "true", NULL);
			_exit(1);
		}
		int status = 1;
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (status != 0)
			failed++;
	}
}

static void run(void)
{
	pthread_t threads[THREADS];

	done = 0;
	for (long i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work, (void *)i);
	if (!locks) /* a child would hold them a while */
		children();
	while (done < THREADS) {
		for (int i = 0; i < THREADS; i++)
			pthread_kill(threads[i], SIGUSR1);
		usleep(500);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	printf("wrong %d, failed %d, missing %d, locked %d, standard %d\n", wrong, failed, missing, locked, standard);
}

int main(void)
{
	struct sigaction restart = { .sa_handler = handler, .sa_flags = SA_RESTART };

	sigaction(SIGUSR1, &restart, NULL);
	for (long i = 0; i < THREADS; i++) {
		char name[32];
		snprintf(name, sizeof name, "file%ld", i);
		FILE *f = fopen(name, "w");
		fprintf(f, "text %ld\n", i);
		fclose(f);
	}
	run();
	locks = 1;
	run();
	return 0;
}
