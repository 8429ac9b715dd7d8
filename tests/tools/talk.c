/*
 * talk serve PORT: says "ready", then sends back what comes by TCP and UDP, by both IPs.
 * talk to PORT SIZE COUNT ADDRESS...: sends each COUNT messages of SIZE bytes by TCP, then as many
 * datagrams, of which some are on their way at once, and compares what comes back. Says "ADDRESS
 * talks" for each; of a hundred datagrams one may be lost. Exits with 1 at what is not right.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define LIMIT	   20 /* s without an answer by TCP */
#define LOST_AFTER 5  /* s without a datagram */
#define WINDOW	   32 /* datagrams on their way */
#define WINDOW_MAX (128 << 10)

static uint8_t out[65536], in[65536];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* --- the server --- */

static int bind_at(int type, const char *port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6,
				   .sin6_port = htons((uint16_t)atoi(port))};
	int fd = socket(AF_INET6, type, 0), yes = 1, no = 0;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no)) < 0 ||
	    bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		fail("bind");
	return fd;
}

static bool write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

/* A child ends with its parent. */
static bool is_child(void)
{
	if (fork())
		return false;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return true;
}

static void __attribute__((noreturn)) serve(const char *port)
{
	int tcp = bind_at(SOCK_STREAM, port), udp = bind_at(SOCK_DGRAM, port), fd;
	struct sockaddr_storage from;
	socklen_t len;
	ssize_t n;

	signal(SIGCHLD, SIG_IGN);
	if (listen(tcp, 64) < 0)
		fail("listen");
	puts("ready");
	fflush(stdout);
	while (is_child())
		for (len = sizeof(from);; len = sizeof(from)) {
			n = recvfrom(udp, in, sizeof(in), 0, (struct sockaddr *)&from, &len);
			if (n >= 0)
				sendto(udp, in, (size_t)n, 0, (struct sockaddr *)&from, len);
		}
	for (;; close(fd)) {
		fd = accept(tcp, NULL, NULL);
		if (fd >= 0 && is_child()) {
			while ((n = read(fd, in, sizeof(in))) > 0 && write_all(fd, in, (size_t)n))
				;
			exit(0);
		}
	}
}

/* --- the client --- */

/* Of an IPv4 address as IPv6 has it: one socket does for both. */
static struct sockaddr_in6 address_of(const char *text, const char *port)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6,
				       .sin6_port = htons((uint16_t)atoi(port))};
	char mapped[INET6_ADDRSTRLEN];

	snprintf(mapped, sizeof(mapped), "%s%s", strchr(text, ':') ? "" : "::ffff:", text);
	if (inet_pton(AF_INET6, mapped, &address.sin6_addr) != 1) {
		fprintf(stderr, "%s: is no address\n", text);
		exit(2);
	}
	return address;
}

static int connect_to(int type, const char *text, const char *port)
{
	struct sockaddr_in6 address = address_of(text, port);
	const struct timeval limit = {.tv_sec = LIMIT};
	int fd = socket(AF_INET6, type, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail(text);
	return fd;
}

/* Its number, and bytes that follow from that, eight at a time: up to seven more than size. */
static void fill(uint8_t *bytes, size_t size, uint32_t number)
{
	uint64_t x = number * 0x9e3779b97f4a7c15u + 1;

	for (size_t i = 0; i < size; i += sizeof(x)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(bytes + i, &x, sizeof(x));
	}
	memcpy(bytes, &number, sizeof(number));
}

static void differs(const char *address, const char *how, uint32_t number)
{
	fprintf(stderr, "%s: %s number %u comes back as another\n", address, how, number);
	exit(1);
}

static void talk_tcp(const char *address, const char *port, size_t size, uint32_t count)
{
	int fd = connect_to(SOCK_STREAM, address, port);

	for (uint32_t i = 0; i < count; i++) {
		fill(out, size, i);
		if (!write_all(fd, out, size) || recv(fd, in, size, MSG_WAITALL) != (ssize_t)size)
			fail(address);
		if (memcmp(out, in, size))
			differs(address, "message", i);
	}
	close(fd);
}

/* Returns how many have come back: fewer when nothing comes any more. */
static uint32_t hear(int fd, const char *address, size_t size, uint32_t first, uint32_t count)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	uint32_t heard = 0, number;

	while (heard < count && poll(&readable, 1, LOST_AFTER * 1000) > 0) {
		ssize_t len = recv(fd, in, sizeof(in), 0);

		if (len < 0)
			fail(address);
		memcpy(&number, in, sizeof(number));
		/* One of before, which was late. */
		if (len == (ssize_t)size && number < first)
			continue;
		fill(out, size, number);
		if (len != (ssize_t)size || number >= first + count || memcmp(out, in, size))
			differs(address, "datagram", number);
		heard++;
	}
	return heard;
}

static void talk_udp(const char *address, const char *port, size_t size, uint32_t count)
{
	uint32_t at_once = WINDOW_MAX / size < WINDOW ? (uint32_t)(WINDOW_MAX / size) : WINDOW;
	int fd = connect_to(SOCK_DGRAM, address, port);
	uint32_t lost = 0, now;

	for (uint32_t first = 0; first < count; first += now) {
		now = count - first < at_once ? count - first : at_once;
		for (uint32_t i = first; i < first + now; i++) {
			fill(out, size, i);
			if (send(fd, out, size, 0) != (ssize_t)size)
				fail(address);
		}
		lost += now - hear(fd, address, size, first, now);
		if (lost > count / 100) {
			fprintf(stderr, "%s: %u of %u datagrams are lost\n", address, lost,
				first + now);
			exit(1);
		}
	}
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(argv[2]);
	if (argc < 6 || strcmp(argv[1], "to") || atoi(argv[3]) < 4 || atoi(argv[3]) > 65507) {
		fprintf(stderr, "usage: talk serve PORT | talk to PORT SIZE COUNT ADDRESS...\n");
		return 2;
	}
	for (int i = 5; i < argc; i++) {
		size_t size = (size_t)atoi(argv[3]);
		uint32_t count = (uint32_t)atoi(argv[4]);

		talk_tcp(argv[i], argv[2], size, count);
		talk_udp(argv[i], argv[2], size, count);
		printf("%s talks\n", argv[i]);
		fflush(stdout);
	}
	return 0;
}
