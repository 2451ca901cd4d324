/* tasks signal|thread COUNT: handles so many signals of its own, or starts and joins so many threads one after the other;
 * prints us_per_op=X. tasks threads COUNT: says "ready", and when it has read a byte starts so many threads, each of which
 * opens a file for writing and stays, and says "grown". */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static atomic_int done;

static void handle(int sig) { (void)sig; }

static void *nothing(void *arg) { return arg; }

static void *stay(void *arg)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		exit(1);
	close(fd);
	atomic_fetch_add(&done, 1);
	for (;;)
		pause();
	return arg;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec * 1e-3;
}

static int grow(int count)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	puts("ready");
	fflush(stdout);
	if (getchar() == EOF)
		return 1;
	for (int i = 0; i < count; i++) {
		pthread_t t;
		if (pthread_create(&t, &attr, stay, NULL))
			return perror("pthread_create"), 1;
	}
	while (atomic_load(&done) < count)
		usleep(1000);
	puts("grown");
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	int count = atoi(argv[2]);
	if (!strcmp(argv[1], "threads"))
		return grow(count);
	signal(SIGUSR1, handle);
	double begin = now();
	for (int i = 0; i < count; i++) {
		pthread_t t;
		if (!strcmp(argv[1], "signal"))
			raise(SIGUSR1);
		else if (pthread_create(&t, NULL, nothing, NULL) || pthread_join(t, NULL))
			return perror("pthread_create"), 1;
	}
	printf("us_per_op=%.3f\n", (now() - begin) / count);
	return 0;
}
