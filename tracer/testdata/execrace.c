/* execrace FROM DENIED TRIES: forks TRIES children, each of which executes FROM
 * while a second thread keeps overwriting the path with DENIED's. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile char path[256];
static const char *from, *denied;

static void set(const char *to)
{
	for (size_t i = 0; i <= strlen(to); i++)
		path[i] = to[i];
}

static void *flip(void *unused)
{
	for (;;) {
		set(denied);
		set(from);
	}
	return unused;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	from = argv[1];
	denied = argv[2];
	for (int tries = atoi(argv[3]); tries > 0; tries--) {
		if (fork() == 0) {
			char *args[] = {"program", NULL};
			pthread_t thread;
			set(from);
			pthread_create(&thread, NULL, flip, NULL);
			for (int i = 0; i < 1000; i++)
				execv((const char *)path, args);
			_exit(1);
		}
		wait(NULL);
	}
	return 0;
}
