/* waiting DIR: opens that wait, and what ends the waiting. Each line tells what an open gave, or its error. Nothing here
 * waits for a time to pass: a process that waits is known by the call that /proc says it is in. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int handled;

static void handle(int sig) { handled = sig; }

/* Waits until a process waits in its open, or is held in it, or has ended. */
static void asleep(pid_t pid)
{
	char path[64], line[32];
	siginfo_t si;

	snprintf(path, sizeof path, "/proc/%d/syscall", pid);
	for (;;) {
		si.si_pid = 0;
		if (waitid(P_PID, pid, &si, WEXITED | WNOHANG | WNOWAIT) || si.si_pid)
			return;
		FILE *f = fopen(path, "r");
		int call = f && fgets(line, sizeof line, f) ? atoi(line) : -1;

		if (f)
			fclose(f);
		if (call == SYS_openat || call == SYS_ppoll) /* the latter: held by ptrace */
			return;
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	}
}

/* Starts a child that catches USR1 with these flags and opens the pipe; it exits with what came of it. */
static pid_t opener(const char *name, int flags, int sa_flags)
{
	pid_t pid = fork();
	struct sigaction sa = {.sa_handler = handle, .sa_flags = sa_flags};

	if (pid < 0)
		_exit(9); /* never to be used as a process id */
	if (pid)
		return pid;
	handled = 0;
	if (sa_flags != -1)
		sigaction(SIGUSR1, &sa, NULL);
	int fd = open(name, flags);
	_exit(fd < 0 ? errno : 100 + (handled != 0));
}

static void ended(const char *what, pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		printf("%s: killed by %d\n", what, WTERMSIG(status));
	else if (WEXITSTATUS(status) >= 100)
		printf("%s: opened%s\n", what, WEXITSTATUS(status) == 101 ? " after the handler" : "");
	else
		printf("%s: %s\n", what, strerror(WEXITSTATUS(status)));
}

/* Each part has a pipe of its own: one who was killed while he waited in it is there a moment longer under the tracer. */
static const char *own(const char *name)
{
	mkfifo(name, 0600);
	return name;
}

static void signals(const char *name, int flags)
{
	pid_t pid = opener(name, flags, 0);

	asleep(pid);
	kill(pid, SIGUSR1);
	ended("handler", pid);

	pid = opener(name, flags, SA_RESTART);
	asleep(pid);
	kill(pid, SIGUSR1);
	asleep(pid);
	/* Both sides of the pipe at once: the child may be between its two opens. */
	int fd = open(name, O_RDWR | O_NONBLOCK);
	ended("handler that restarts", pid);
	close(fd);

	for (int last = 0; last < 4; last++) {
		static const int lasts[] = {SIGTERM, SIGKILL, SIGUSR1, SIGINT};

		pid = opener(name, flags, lasts[last] == SIGUSR1 ? 0 : -1);
		asleep(pid);
		kill(pid, SIGSTOP);
		waitpid(pid, NULL, WUNTRACED);
		kill(pid, SIGCONT);
		asleep(pid);
		kill(pid, lasts[last]);
		ended("stopped and continued", pid);
	}

	pid = opener(name, flags, -1);
	asleep(pid);
	kill(pid, SIGCHLD); /* ignored: nothing happens */
	kill(pid, SIGWINCH);
	asleep(pid);
	fd = open(name, O_RDWR | O_NONBLOCK);
	ended("ignored signals", pid);
	close(fd);
}

/* Signals to a process of which one thread waits and another takes them. */
static void *wait_in_open(void *name)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	return (void *)(long)open(name, O_RDONLY);
}

static void blocked(const char *name)
{
	pthread_t t;
	struct sigaction sa = {.sa_handler = handle};
	void *fd;

	sigaction(SIGUSR1, &sa, NULL);
	pthread_create(&t, NULL, wait_in_open, (void *)name);
	for (int i = 0; i < 50; i++)
		kill(getpid(), SIGUSR1);
	int w = open(name, O_WRONLY); /* returns when the other has come */
	pthread_join(t, &fd);
	printf("blocked signals: %s, writer %s\n", (long)fd > 2 ? "opened" : "failed", w > 2 ? "opened" : strerror(errno));
	close(w);
	close((long)fd);
	signal(SIGUSR1, SIG_DFL);
}

static void alarmed(const char *name)
{
	struct sigaction sa = {.sa_handler = handle};

	handled = 0;
	sigaction(SIGALRM, &sa, NULL);
	ualarm(100000, 100000); /* again, since the first may come before the open */
	int fd = open(name, O_RDONLY);
	ualarm(0, 0);
	printf("alarm: %s, handled %d\n", fd < 0 ? strerror(errno) : "opened", handled);
}

/* Readers without a writer do not return by themselves, however many there are; then all get in. */
static void patient(const char *name)
{
	enum { N = 40 };
	pid_t pids[N];
	int early = 0, opened = 0, status;

	for (int i = 0; i < N; i++)
		pids[i] = opener(name, O_RDONLY, -1);
	for (int i = 0; i < N; i++)
		asleep(pids[i]);
	for (int i = 0; i < N; i++)
		early += waitpid(pids[i], &status, WNOHANG) != 0;
	int fd = open("plain", O_RDONLY); /* is not held up */
	printf("early: %d, an ordinary open meanwhile: %s\n", early, fd < 0 ? strerror(errno) : "opened");
	close(fd);
	fd = open(name, O_WRONLY);
	for (int i = 0; i < N; i++)
		opened += waitpid(pids[i], &status, 0) == pids[i] && WEXITSTATUS(status) == 100;
	printf("opened: %d\n", opened);
	close(fd);
}

static void at_once(const char *name)
{
	int r, w;

	w = open(name, O_WRONLY | O_NONBLOCK);
	printf("writer without a reader: %s\n", w < 0 ? strerror(errno) : "opened");
	r = open(name, O_RDONLY | O_NONBLOCK);
	printf("reader that does not wait: %s\n", r < 0 ? strerror(errno) : "opened");
	w = open(name, O_WRONLY | O_NONBLOCK);
	printf("writer with a reader: %s\n", w < 0 ? strerror(errno) : "opened");
	close(w);
	printf("end: %zd\n", read(r, &(char){0}, 1));
	close(r);
	r = open(name, O_RDWR);
	printf("both: %s\n", r < 0 ? strerror(errno) : "opened");
	close(r);
}

/* A lease holds up who opens the file otherwise, until it is given up; who does not want to wait is told. */
static void leases(void)
{
	pid_t pid;
	struct sigaction sa = {.sa_handler = handle};
	sigset_t io, before;
	static const int kinds[] = {F_WRLCK, F_RDLCK};

	sigaction(SIGIO, &sa, NULL);
	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	sigprocmask(SIG_BLOCK, &io, &before);
	for (int i = 0; i < 2; i++) {
		int fd = open("leased", kinds[i] == F_RDLCK ? O_RDONLY : O_RDWR), flags = kinds[i] == F_RDLCK ? O_WRONLY : O_RDONLY, got;

		printf("lease: %d\n", fcntl(fd, F_SETLEASE, kinds[i]));
		int other = open("leased", flags | O_NONBLOCK);
		printf("not waiting: %s\n", other < 0 ? strerror(errno) : "opened");
		sigwait(&io, &got);
		pid = opener("leased", flags, 0);
		asleep(pid);
		kill(pid, SIGUSR1);
		ended("leased, handler", pid);
		pid = opener("leased", flags, -1);
		asleep(pid);
		kill(pid, SIGKILL);
		ended("leased, killed", pid);
		pid = opener("leased", flags | O_TRUNC, -1);
		asleep(pid);
		fcntl(fd, F_SETLEASE, F_UNLCK);
		ended("lease given up", pid);
		close(fd);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
}

/* Many opens wait for leases; ordinary ones are not held up. */
static void many_leases(void)
{
	enum { N = 70 };
	int fds[N], opened = 0, status;
	pid_t pids[N];
	char name[32];

	signal(SIGIO, SIG_IGN);
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof name, "lease%d", i);
		close(open(name, O_CREAT | O_RDWR, 0600));
		fds[i] = open(name, O_RDONLY);
		if (fcntl(fds[i], F_SETLEASE, F_RDLCK))
			printf("lease %d: %s\n", i, strerror(errno));
		pids[i] = opener(name, O_WRONLY, -1);
	}
	asleep(pids[N - 1]);
	for (int i = 0; i < 20; i++) {
		int fd = open("plain", O_RDONLY);

		opened += fd >= 0;
		close(fd);
	}
	printf("meanwhile: %d\n", opened);
	for (int i = 0; i < N; i++) {
		fcntl(fds[i], F_SETLEASE, F_UNLCK);
		waitpid(pids[i], &status, 0);
		opened += WEXITSTATUS(status) == 100;
	}
	printf("all: %d\n", opened);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	signal(SIGINT, SIG_DFL); /* a shell's background job ignores it */
	close(open("plain", O_CREAT | O_RDWR, 0600));
	close(open("leased", O_CREAT | O_RDWR, 0600));
	puts("reading");
	signals(own("read"), O_RDONLY);
	puts("writing");
	signals(own("written"), O_WRONLY);
	blocked(own("blocked"));
	alarmed(own("alarm"));
	patient(own("patient"));
	at_once(own("once"));
	leases();
	many_leases();
	return 0;
}
