/* changerace CALL FROM SECRET SCRATCH TRIES: makes a call on FROM again and again while
 * a second thread keeps overwriting the path with SECRET's. Prints how often the call
 * got at SECRET, and whether it ever succeeded. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "flip.h"

int main(int argc, char **argv)
{
	struct stat want, got;
	int wins = 0, done = 0, r;
	pthread_t thread;

	if (argc != 6)
		return 2;
	const char *call = argv[1], *scratch = argv[4];
	from = argv[2];
	secret = argv[3];
	if (stat(secret, &want))
		return 1;
	set(from);
	pthread_create(&thread, NULL, flip, NULL);
	for (int tries = atoi(argv[5]); tries > 0; tries--) {
		const char *p = (const char *)path;

		if (access(from, F_OK) && mknod(from, S_IFREG | 0600, 0))
			return 1;
		switch (call[0]) {
		case 'u':
			r = unlink(p);
			break;
		case 'r':
			r = rename(p, scratch);
			break;
		case 'l':
			r = link(p, scratch);
			break;
		case 'c':
			r = chmod(p, 0640);
			break;
		default:
			r = truncate(p, 0);
		}
		done += r == 0;
		if (stat(secret, &got)) {
			printf("gone after %d\n", done);
			return 0;
		}
		wins += got.st_mode != want.st_mode || got.st_size != want.st_size || got.st_nlink != want.st_nlink;
		unlink(scratch);
	}
	stop = 1;
	pthread_join(thread, NULL);
	printf("%d %d\n", wins, done > 0);
	return 0;
}
