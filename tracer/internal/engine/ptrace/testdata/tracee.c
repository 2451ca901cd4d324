/* tracee WHAT FILE: what a process can do that its tracer must keep apart. An open of FILE is the call that the test
 * answers; its result is printed as a number, or as the name of its error. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 300, BUSY = 40 };

static const char *file;
static char **self;

static void say(const char *what, int result)
{
	char line[128];
	int n = snprintf(line, sizeof line, "%s: %s%d\n", what, result < 0 ? "error " : "", result < 0 ? errno : result);
	if (write(1, line, n) != n)
		_exit(3);
}

static int try_open(void) { return open(file, O_RDONLY | O_CLOEXEC); }

static void *opens(void *arg)
{
	int fd = try_open();
	return fd < 0 ? NULL : (close(fd), arg);
}

static void *executes(void *arg)
{
	execl("/proc/self/exe", self[0], "open", file, (char *)NULL);
	return arg;
}

static void handle(int sig, siginfo_t *info, void *context)
{
	(void)context;
	say(sig == SIGUSR1 ? "queued value" : "signal", info->si_value.sival_int);
}

static void one_open(void)
{
	int fd = try_open();
	say("open", fd);
	if (fd >= 0) {
		char text[64] = {0};
		say("read", read(fd, text, sizeof text - 1));
		say("close on exec", fcntl(fd, F_GETFD));
		close(fd);
	}
}

static void threads(void)
{
	pthread_t t[THREADS];
	int good = 0;
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&t[i], NULL, opens, &good))
			_exit(4);
	for (int i = 0; i < THREADS; i++) {
		void *result;
		pthread_join(t[i], &result);
		good += result != NULL;
	}
	say("threads", good);
}

static pthread_barrier_t all_there;
static atomic_int finished;

static void *goes_on(void *arg)
{
	pthread_barrier_wait(&all_there);
	for (int i = 1; atomic_load(&finished) < BUSY; i++) {
		opens(arg);
		if (i == 5)
			atomic_fetch_add(&finished, 1);
		usleep(100);
	}
	return NULL;
}

/* Old threads have their turn while younger ones leave the tracer no pause. */
static void turns(void)
{
	pthread_t t[BUSY];

	pthread_barrier_init(&all_there, NULL, BUSY);
	for (int i = 0; i < BUSY; i++)
		if (pthread_create(&t[i], NULL, goes_on, &t))
			_exit(4);
	for (int i = 0; i < BUSY; i++)
		pthread_join(t[i], NULL);
	say("turns", atomic_load(&finished));
}

static void signals(void)
{
	struct sigaction a = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
	sigaction(SIGUSR1, &a, NULL);
	signal(SIGUSR2, SIG_IGN);
	for (int i = 1; i <= 3; i++)
		sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = i});
	raise(SIGUSR2);
	one_open();
}

static int in_child(void)
{
	say("child", try_open());
	return 7;
}

static void children(int vforks)
{
	int status;
	pid_t pid = vforks ? vfork() : fork();
	if (pid == 0)
		_exit(in_child());
	waitpid(pid, &status, 0);
	say("exit", WEXITSTATUS(status));
	one_open();
}

static int cloned(void *arg) { return (void)arg, in_child(); }

static void shares_memory(void)
{
	static char stack[64 << 10] __attribute__((aligned(16)));
	int status;
	pid_t pid = clone(cloned, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
	waitpid(pid, &status, 0);
	say("exit", WEXITSTATUS(status));
	one_open();
}

static void stops(void)
{
	pid_t pid = fork();
	int status;
	if (pid == 0) {
		raise(SIGSTOP);
		_exit(in_child());
	}
	waitpid(pid, &status, WUNTRACED);
	say("stopped by", WIFSTOPPED(status) ? WSTOPSIG(status) : -1);
	kill(pid, SIGCONT);
	waitpid(pid, &status, WCONTINUED);
	say("goes on", WIFCONTINUED(status));
	waitpid(pid, &status, 0);
	say("exit", WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	pthread_t t;
	if (argc < 3)
		return 2;
	self = argv, file = argv[2];
	if (!strcmp(argv[1], "open"))
		one_open();
	else if (!strcmp(argv[1], "threads"))
		threads();
	else if (!strcmp(argv[1], "turns"))
		turns();
	else if (!strcmp(argv[1], "signals"))
		signals();
	else if (!strcmp(argv[1], "fork") || !strcmp(argv[1], "vfork"))
		children(argv[1][0] == 'v');
	else if (!strcmp(argv[1], "clone"))
		shares_memory();
	else if (!strcmp(argv[1], "stop"))
		stops();
	else if (!strcmp(argv[1], "exec")) {
		pthread_create(&t, NULL, executes, NULL);
		for (;;) /* the leader is stopped again and again meanwhile */
			opens(&t);
	} else if (!strcmp(argv[1], "stay")) {
		opens(&t);
		for (;;)
			pause();
	} else
		return 2;
	return 5;
}
