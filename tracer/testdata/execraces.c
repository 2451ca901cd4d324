/* execraces KIND ALLOWED DENIED TRIES: forks TRIES children, each of which executes ALLOWED while something that leads the
 * kernel there is changed to lead to DENIED and back, again and again:
 *   path     the name in memory, by a thread
 *   traced   the same, and the parent traces the child
 *   cwd      the working directory, by a thread; ALLOWED and DENIED have the same name in two directories
 *   dirfd    the directory's descriptor, by a thread; as before
 *   link     a symbolic link, by a process
 *   script   a script that names it, by a process
 * vfork- before a kind: the child is a process that shares its parent's memory, which does the changing; worker- before it:
 * all of it as a user that root has become without an exec. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char *kind, *allowed, *denied;
static volatile char path[512];
static char dirs[2][512], scripts[2][600];
static int fds[2], fd;
static volatile int turning; /* the thread that changes things has begun */
static char stack[1 << 16] __attribute__((aligned(16)));

static int is(const char *what) { return strcmp(kind, what) == 0; }

static void set(const char *to)
{
	for (size_t i = 0; i <= strlen(to); i++)
		path[i] = to[i];
}

static void turn(int to)
{
	if (is("path") || is("traced")) {
		set(to ? denied : allowed);
	} else if (is("cwd")) {
		if (chdir(dirs[to]))
			_exit(3);
	} else if (is("dirfd")) {
		dup2(fds[to], fd);
	} else if (is("link")) {
		unlink("link.new");
		if (symlink(to ? denied : allowed, "link.new") == 0)
			rename("link.new", "link");
	} else {
		int new = open("script.new", O_CREAT | O_TRUNC | O_WRONLY, 0755);

		if (write(new, scripts[to], strlen(scripts[to])) > 0 && close(new) == 0)
			rename("script.new", "script");
	}
}

static void *change(void *unused)
{
	for (;;) {
		turn(1);
		turning = 1;
		turn(0);
	}
	return unused;
}

static int threaded;

static int begin(void *unused)
{
	char *args[] = {"program", NULL};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (threaded && !turning)
		sched_yield();
	for (int i = 0; i < 1000; i++) {
		if (is("cwd"))
			execv(basename((char *)allowed), args);
		else if (is("dirfd"))
			syscall(SYS_execveat, fd, basename((char *)allowed), args, environ, 0);
		else if (is("link"))
			execv("link", args);
		else if (is("script"))
			execv("script", args);
		else
			execv((const char *)path, args);
	}
	_exit(unused != NULL);
}

/* Lets a child go on from each of its stops, until it ends. */
static void follow(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status))
		ptrace(PTRACE_CONT, child, 0, WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status));
}

static void try(int shares_memory, int by_process)
{
	pthread_t thread;

	if (shares_memory) {
		pid_t child = clone(begin, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);

		while (waitpid(child, NULL, WNOHANG) == 0) {
			turn(1);
			turn(0);
		}
		return;
	}
	pid_t child = fork();
	if (child == 0) {
		if (is("traced"))
			ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		threaded = !by_process && pthread_create(&thread, NULL, change, NULL) == 0;
		begin(NULL);
	}
	follow(child);
}

int main(int argc, char **argv)
{
	pid_t changer = 0;
	int shares_memory, by_process;

	if (argc != 5)
		return 2;
	kind = argv[1];
	allowed = argv[2];
	denied = argv[3];
	if (strncmp(kind, "worker-", 7) == 0) {
		kind += 7;
		if (setgroups(0, NULL) || setgid(1000) || setuid(1000))
			return 4;
	}
	shares_memory = strncmp(kind, "vfork-", 6) == 0;
	if (shares_memory)
		kind += 6;
	for (int i = 0; i < 2; i++) {
		snprintf(dirs[i], sizeof dirs[i], "%s", argv[2 + i]);
		snprintf(scripts[i], sizeof scripts[i], "#!%s\n", argv[2 + i]);
		dirname(dirs[i]);
		fds[i] = open(dirs[i], O_PATH | O_DIRECTORY);
	}
	fd = dup(fds[0]);
	by_process = is("link") || is("script");
	turn(0);
	if (by_process && !(changer = fork())) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		change(NULL);
	}
	for (int tries = atoi(argv[4]); tries > 0; tries--)
		try(shares_memory, by_process);
	if (changer > 0) {
		kill(changer, SIGKILL);
		waitpid(changer, NULL, 0);
	}
	return 0;
}
