/* netrace KIND TRIES: connects and sends to 127.0.0.1 again and again while a second
 * thread keeps overwriting the address with 127.0.0.2, or puts another socket under the
 * number. Prints how often something came of the other one, and whether it ever
 * succeeded. KIND is tcp, open (by MSG_FASTOPEN), udp, message, batch, unix (allowed and
 * denied are the sockets), or connect or bind: descriptor 3 is the
 * socket that is denied, and 4 listens. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static union {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_un un;
} address, allowed, denied;
static socklen_t length;
static int number = -1, good, bad; /* a descriptor, and the sockets that are put there */
static volatile int stop;

static void set(const void *to)
{
	volatile char *at = (volatile char *)&address;

	for (socklen_t i = 0; i < length; i++)
		at[i] = ((const char *)to)[i];
}

static void *flip(void *unused)
{
	while (!stop) {
		if (number >= 0) {
			dup2(bad, number);
			dup2(good, number);
			continue;
		}
		set(&denied);
		set(&allowed);
	}
	return unused;
}

/* A socket that is bound to an address, and listens if it can. */
static int server(void *to, int kind)
{
	int s = socket(((struct sockaddr *)to)->sa_family, kind | SOCK_NONBLOCK, 0);
	socklen_t size = length;

	if (s < 0 || bind(s, to, length) || (kind == SOCK_STREAM && listen(s, 128))) {
		perror("server");
		exit(1);
	}
	if (((struct sockaddr *)to)->sa_family == AF_INET)
		getsockname(s, to, &size);
	return s;
}

/* Says whether a server has got something, and takes all of it. */
static int got(int s, int kind)
{
	char byte;
	int any = 0, c;

	while ((c = kind == SOCK_STREAM ? accept(s, NULL, NULL) : (int)recv(s, &byte, 1, 0)) >= 0) {
		any = 1;
		if (kind == SOCK_STREAM)
			close(c);
	}
	return any;
}

static int try(char kind, int s)
{
	struct iovec io = {"x", 1};
	struct mmsghdr m = {.msg_hdr = {.msg_name = &address, .msg_namelen = length, .msg_iov = &io, .msg_iovlen = 1}};

	switch (kind) {
	case 'o':
		return sendto(s, "x", 1, MSG_FASTOPEN, &address.any, length) < 0;
	case 'u':
		return sendto(s, "x", 1, 0, &address.any, length) < 0;
	case 'm':
		return sendmsg(s, &m.msg_hdr, 0) < 0;
	case 'b':
		return sendmmsg(s, &m, 1, 0) < 0;
	}
	return connect(s, &address.any, length);
}

/* The race for which socket it is. */
static int sockets(int binds, int tries)
{
	struct sockaddr_in name, to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size;
	int done = 0;
	pthread_t thread;

	length = sizeof to;
	getsockname(4, (struct sockaddr *)&to, &length);
	good = socket(AF_INET, SOCK_DGRAM, 0);
	bad = 3;
	number = dup(good);
	pthread_create(&thread, NULL, flip, NULL);
	for (; tries > 0; tries--) {
		if (binds)
			to.sin_port = 0;
		done += !(binds ? bind : connect)(number, (struct sockaddr *)&to, sizeof to);
		if (binds) { /* it can be bound once only */
			dup2(socket(AF_INET, SOCK_DGRAM, 0), good);
			closefrom(number + 1);
		}
		size = sizeof name;
		if (binds ? !getsockname(bad, (struct sockaddr *)&name, &size) && name.sin_port : !getpeername(bad, (struct sockaddr *)&name, &size)) {
			printf("won after %d\n", done);
			return 0;
		}
	}
	stop = 1;
	pthread_join(thread, NULL);
	printf("0 %d\n", done > 0);
	return 0;
}

int main(int argc, char **argv)
{
	struct linger reset = {1, 0};
	int wins = 0, done = 0;
	pthread_t thread;

	if (argc != 3)
		return 2;
	char kind = argv[1][0];
	if (!strcmp(argv[1], "connect") || !strcmp(argv[1], "bind"))
		return sockets(kind == 'b', atoi(argv[2]));
	int unixes = !strcmp(argv[1], "unix"), type = kind == 't' || kind == 'o' || unixes ? SOCK_STREAM : SOCK_DGRAM;
	if (unixes) {
		kind = 'x';
		allowed.un = (struct sockaddr_un){AF_UNIX, "allowed"};
		denied.un = (struct sockaddr_un){AF_UNIX, "denied"};
		length = sizeof allowed.un;
	} else {
		allowed.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
		length = sizeof allowed.in;
	}
	int there = server(&allowed, type);
	if (!unixes) {
		denied = allowed;
		denied.in.sin_addr.s_addr = htonl(0x7f000002);
	}
	int elsewhere = server(&denied, type);
	set(&allowed);
	pthread_create(&thread, NULL, flip, NULL);
	for (int tries = atoi(argv[2]); tries > 0; tries--) {
		int s = socket(allowed.any.sa_family, type, 0);

		done += !try(kind, s);
		setsockopt(s, SOL_SOCKET, SO_LINGER, &reset, sizeof reset); /* no port stays taken */
		wins += got(elsewhere, type);
		got(there, type);
		close(s);
	}
	stop = 1;
	pthread_join(thread, NULL);
	printf("%d %d\n", wins, done > 0);
	return 0;
}
