/* Fetches a path from a loopback HTTP server and prints the body: client PORT PATH */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char request[512], answer[4096];
	size_t have = 0;
	ssize_t n;
	char *body;
	struct sockaddr_in to = {.sin_family = AF_INET};

	if (argc != 3) {
		fprintf(stderr, "usage: client PORT PATH\n");
		return 2;
	}
	to.sin_port = htons((unsigned short)atoi(argv[1]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

	int s = socket(AF_INET, SOCK_STREAM, 0);
	if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof to) < 0) {
		perror("client: connect");
		return 1;
	}
	snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", argv[2]);
	if (write(s, request, strlen(request)) < 0) {
		perror("client: write");
		return 1;
	}
	while (have < sizeof answer - 1 && (n = read(s, answer + have, sizeof answer - 1 - have)) > 0)
		have += (size_t)n;
	answer[have] = 0;
	body = strstr(answer, "\r\n\r\n");
	if (!body) {
		fprintf(stderr, "client: no answer\n");
		return 1;
	}
	fputs(body + 4, stdout);
	return 0;
}
