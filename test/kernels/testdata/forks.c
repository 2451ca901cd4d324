/* forks DEPTH: each process starts the next one, in turn by fork, by vfork, by
 * posix_spawn and as a thread of its own that forks, opens a file before and
 * after, and passes on how many of all opens failed. Prints that number and the
 * depth that was reached. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *self;
static int depth, failed;

static void try_open(void)
{
	int fd = open("/srv/public", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		failed++;
	else
		close(fd);
}

static void down(void);

/* The rest of the way, in a program that was executed anew. */
static char **arguments(void)
{
	static char left[16], bad[16], *argv[4];

	snprintf(left, sizeof left, "%d", depth - 1);
	snprintf(bad, sizeof bad, "%d", failed);
	argv[0] = self;
	argv[1] = left;
	argv[2] = bad;
	return argv;
}

static void await(pid_t child)
{
	int status;

	if (child < 0 || waitpid(child, &status, 0) < 0 || status) {
		printf("depth %d: no child, or a bad end\n", depth);
		exit(1);
	}
}

static void *fork_here(void *unused)
{
	pid_t child = fork();

	if (child == 0) {
		depth--;
		down();
		exit(0);
	}
	await(child);
	return unused;
}

static void down(void)
{
	pid_t child = -1;
	pthread_t thread;

	try_open();
	if (depth == 0) {
		printf("%d failed, at the bottom\n", failed);
		return;
	}
	char **argv = arguments();
	switch (depth % 4) {
	case 0:
		fork_here(NULL);
		break;
	case 1:
		pthread_create(&thread, NULL, fork_here, NULL);
		pthread_join(thread, NULL);
		break;
	case 2:
		if (posix_spawn(&child, self, NULL, NULL, argv, environ))
			child = -1;
		await(child);
		break;
	case 3:
		child = vfork();
		if (child == 0) {
			execv(self, argv);
			_exit(127);
		}
		await(child);
	}
	try_open();
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	setvbuf(stdout, NULL, _IONBF, 0);
	self = argv[0];
	depth = atoi(argv[1]);
	failed = argc > 2 ? atoi(argv[2]) : 0;
	int before = failed;
	down();
	if (failed != before && depth > 0)
		printf("%d failed by depth %d\n", failed, depth);
	return 0;
}
