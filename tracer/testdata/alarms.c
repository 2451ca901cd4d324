/* alarms: makes calls that no signal interrupts while a timer sends one after the other, whose handler does not restart calls.
 * Prints how many calls failed, and with what. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <unistd.h>

static volatile int handled;

static void handle(int sig) { handled += sig != 0; }

int main(void)
{
	struct sigaction sa = {.sa_handler = handle};
	struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
	struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(9)};
	int interrupted = 0, other = 0, fds = 0, status;

	sigaction(SIGALRM, &sa, NULL);
	mkdir("d", 0755);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 3000; i++) {
		int fd = open("f", O_CREAT | O_RDWR | O_TRUNC, 0600);
		interrupted += fd < 0 && errno == EINTR;
		other += fd < 0 && errno != EINTR;
		fds += fd > 3;
		close(fd);
		if (chdir("d"))
			interrupted += errno == EINTR;
		else
			while (chdir("..")) // or it would climb to the root directory, and make files there
				interrupted += errno == EINTR;
		fd = open("no", O_RDONLY);
		interrupted += errno == EINTR;
		other += fd >= 0 || (errno != ENOENT && errno != EINTR);
		fd = socket(AF_INET, SOCK_DGRAM, 0);
		interrupted += connect(fd, (struct sockaddr *)&nobody, sizeof nobody) && errno == EINTR;
		close(fd);
		execl("no", "no", NULL);
		interrupted += errno == EINTR;
		other += errno != ENOENT && errno != EINTR;
		if (i % 30 == 0) {
			pid_t pid;
			char *args[] = {"true", NULL};
			int error = posix_spawn(&pid, "/bin/true", NULL, NULL, args, NULL);

			interrupted += error == EINTR;
			while (!error && waitpid(pid, &status, 0) < 0 && errno == EINTR)
				;
			other += (error && error != EINTR) || (!error && status);
		}
	}
	setitimer(ITIMER_REAL, &never, NULL);
	/* What is held can be interrupted before the tracer has heard of it, see docs/tracer.md: how often is by chance. */
	(void)interrupted;
	printf("other: %d\ndescriptors left: %d\nhandled: %s\n", other, fds, handled > 10 ? "many" : "few");
	return 0;
}
