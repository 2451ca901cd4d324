/* Programs of the tests that are made after KubeArmor's, by their names. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int readwrite(char **argv)
{
	char c;
	int fd = open(argv[2], strcmp(argv[1], "-w") ? O_RDONLY : O_WRONLY);

	if (fd < 0 || (strcmp(argv[1], "-w") ? read(fd, &c, 1) < 0 : write(fd, "x", 1) != 1)) {
		perror(argv[2]);
		return 1;
	}
	return 0;
}

static int packet(void)
{
	if (socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ARP)) >= 0)
		return 0;
	if (errno == EPERM)
		fprintf(stderr, "CAP_NET_RAW capability is required\n");
	else
		perror("socket");
	return 1;
}

static int connects(const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) {
		perror("connect");
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');

	name = name ? name + 1 : argv[0];
	if (!strcmp(name, "readwrite") && argc == 3)
		return readwrite(argv);
	if (!strcmp(name, "packet"))
		return packet();
	if (!strcmp(name, "connect") && argc == 2)
		return connects(argv[1]);
	puts("ran");
	return 0;
}
