/*
 * exchange echo COUNT TO...: sends 64 bytes and waits for them to come back, COUNT times, and
 * prints the median in us. exchange stream MIB TO...: sends that much, and prints the MB/s until
 * the reader, who has read all of it, has closed.
 *
 * TO: tcp ADDRESS PORT, or unix PATH, or unix PATH PORT: vsock to a guest by the VMM's socket. Who
 * is silent for 30 s is given up.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"

#define LIMIT	30 /* s */
#define MESSAGE 64
#define BLOCK	65536

static void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "exchange: %s: %s\n", what, errno ? strerror(errno) : "has ended");
	exit(1);
}

static void send_all(int fd, const void *bytes, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, (const char *)bytes + done, len - done);

		if (n < 0)
			fail("send");
		done += (size_t)n;
	}
}

static void limit(int fd)
{
	const struct timeval time = {.tv_sec = LIMIT};

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)) < 0)
		fail("time limit");
}

static int connect_tcp(const char *address, const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		errno = EINVAL;
	else if (fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) == 0) {
		limit(fd);
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
			return fd;
	}
	fail(address);
}

/* The VMM's answer is a line. */
static void ask_for_port(int fd, const char *port)
{
	char line[32];
	int len = snprintf(line, sizeof(line), "CONNECT %s\n", port);

	send_all(fd, line, (size_t)len);
	do {
		errno = 0;
		if (read(fd, line, 1) != 1)
			fail("answer to CONNECT");
	} while (line[0] != '\n');
}

static int connect_unix(const char *path, const char *port)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	limit(fd);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		fail(path);
	if (port)
		ask_for_port(fd, port);
	return fd;
}

static int ascending(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void echo(int fd, size_t count)
{
	uint64_t *times = calloc(count, sizeof(*times));
	char bytes[MESSAGE] = {0};

	if (!times)
		fail("memory");
	for (size_t i = 0; i < count; i++) {
		uint64_t start = monotonic_ns();

		send_all(fd, bytes, MESSAGE);
		errno = 0;
		if (recv(fd, bytes, MESSAGE, MSG_WAITALL) != MESSAGE)
			fail("receive");
		times[i] = monotonic_ns() - start;
	}
	qsort(times, count, sizeof(*times), ascending);
	printf("%.1f\n", (double)times[count / 2] / 1e3);
	free(times);
}

static void stream(int fd, size_t mib)
{
	static char bytes[BLOCK];
	uint64_t start = monotonic_ns();
	ssize_t n;

	for (size_t i = 0; i < mib << 20; i += BLOCK)
		send_all(fd, bytes, BLOCK);
	shutdown(fd, SHUT_WR);
	n = read(fd, bytes, 1);
	if (n < 0)
		fail("end");
	printf("%.1f\n", (double)(mib << 20) * 1e3 / (double)(monotonic_ns() - start));
}

int main(int argc, char **argv)
{
	size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	int fd = -1;

	signal(SIGPIPE, SIG_IGN);
	if (count && argc == 6 && !strcmp(argv[3], "tcp"))
		fd = connect_tcp(argv[4], argv[5]);
	else if (count && (argc == 5 || argc == 6) && !strcmp(argv[3], "unix"))
		fd = connect_unix(argv[4], argv[5]);
	if (fd >= 0 && !strcmp(argv[1], "echo"))
		echo(fd, count);
	else if (fd >= 0 && !strcmp(argv[1], "stream"))
		stream(fd, count);
	else {
		fprintf(stderr,
			"usage: exchange echo COUNT|stream MIB tcp ADDRESS PORT|unix PATH [PORT]\n");
		return 2;
	}
	return 0;
}
