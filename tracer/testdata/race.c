/* race FROM SECRET TRIES: opens FROM again and again while a second thread keeps
 * overwriting the path with SECRET's. Prints how often it got SECRET's file, and
 * whether it got any: on a busy machine the other thread may not run for a while, so
 * it tries some more times until it does. */
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
	int wins = 0, opens = 0, more = 1000;
	pthread_t thread;

	if (argc != 4)
		return 2;
	from = argv[1];
	secret = argv[2];
	if (stat(secret, &want))
		return 1;
	set(from);
	pthread_create(&thread, NULL, flip, NULL);
	for (int tries = atoi(argv[3]); tries > 0 || (!opens && more-- > 0); tries--) {
		if (tries <= 0)
			usleep(500);
		int fd = open((const char *)path, O_RDONLY);
		if (fd < 0)
			continue;
		opens++;
		fstat(fd, &got);
		wins += got.st_ino == want.st_ino && got.st_dev == want.st_dev;
		close(fd);
	}
	stop = 1;
	pthread_join(thread, NULL);
	printf("%d %d\n", wins, opens > 0);
	return 0;
}
