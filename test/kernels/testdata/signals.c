/* signals restart|interrupt TRIES: opens and makes files again and again while
 * another process sends signals, whose handler restarts calls or interrupts them.
 * Regular files are opened without waiting: natively no call fails, and none
 * leaves a descriptor behind. Prints what did. Who interrupts must reckon with
 * EINTR and tries again: a caller that is held can be interrupted. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t seen;

static void handle(int number)
{
	seen += number != 0;
}

static int descriptors(void)
{
	int n = 0;
	DIR *dir = opendir("/proc/self/fd");

	if (!dir)
		return -1;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Signals come at all times of a call, each after another call was done: calls
 * that are interrupted get through in the end. */
static void send_signals(pid_t to, volatile int *done)
{
	for (unsigned i = 0; getppid() == to; i++) {
		int before = *done;
		if (kill(to, SIGUSR1))
			break;
		while (*done == before && getppid() == to)
			usleep(100);
		usleep(i * 397 % 3000);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	int restart = !strcmp(argv[1], "restart");
	struct sigaction action = {.sa_handler = handle, .sa_flags = restart ? SA_RESTART : 0};
	sigaction(SIGUSR1, &action, NULL);

	int failed = 0, low = 0, error = 0, before = descriptors();
	volatile int *done = mmap(NULL, sizeof *done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t self = getpid(), sender = fork();
	if (sender == 0)
		send_signals(self, done);
	while (!seen) // the loop can be over before the sender has begun
		usleep(100);
	for (int tries = atoi(argv[2]); tries > 0; tries--) {
		int fd = tries % 2 ? open("/srv/public", O_RDONLY) : open("made", O_WRONLY | O_CREAT | O_TRUNC, 0600);
		if (fd < 0 && errno == EINTR && !restart) {
			tries++;
			continue;
		}
		++*done;
		if (fd < 0) {
			failed++;
			error = errno;
		} else if (fd < 3) {
			low++;
		} else {
			close(fd);
		}
	}
	kill(sender, SIGKILL);
	while (waitpid(sender, NULL, 0) < 0 && errno == EINTR)
		;
	int left = descriptors() - before;
	printf("%d failed (%s), %d gave a standard descriptor, %d left open, signals %s\n", failed, strerror(error), low, left,
	       seen ? "came" : "did not come");
	return 0;
}
