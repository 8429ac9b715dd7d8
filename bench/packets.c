/*
 * packets serve PORT: answers those below, for ever.
 * packets to|from|talk SIZE COUNT ADDRESS PORT: exchanges COUNT messages of SIZE bytes with it, so
 * many again for the measurement, and prints the ns that one of these took, and of how many ns of
 * that no CPU here had anything to do.
 *
 * to, from: datagrams to the server or from it. No more than WINDOW are on their way, and who
 * receives acknowledges every ANSWER-th, so nothing is lost, and there is always something to do.
 * talk: by TCP to it and back, one at a time. Who is silent for 10 s is given up.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

#define LIMIT	    10 /* s; the server's is half of it: it is ready again when a client gives up */
#define MESSAGE_MAX 1400u
#define WINDOW	    32u /* less than what the queues on the way and a socket of a guest hold */
#define ANSWER	    16u

/* What the server is asked for. The acknowledgement is a datagram of the same length. */
struct order {
	uint32_t count;
	uint32_t size;
	uint32_t from; /* the server sends */
};

static uint8_t bytes[MESSAGE_MAX];

static void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "packets: %s: %s\n", what, errno ? strerror(errno) : "has ended");
	exit(1);
}

static int open_socket(int type, time_t limit_s)
{
	const struct timeval limit = {.tv_sec = limit_s};
	int fd = socket(AF_INET, type, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		fail("socket");
	return fd;
}

static struct sockaddr_in address_of(const char *text, const char *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)atoi(port))};

	if (inet_pton(AF_INET, text, &address.sin_addr) != 1) {
		errno = EINVAL;
		fail(text);
	}
	return address;
}

static void receive(int fd, size_t size)
{
	errno = 0;
	if (recv(fd, bytes, sizeof(bytes), 0) != (ssize_t)size)
		fail("receive");
}

static void send_one(int fd, size_t size)
{
	if (send(fd, bytes, size, 0) != (ssize_t)size)
		fail("send");
}

static void send_all(int fd, const struct order *order)
{
	unsigned int answered = 0;

	for (uint32_t i = 0; i < order->count; i++) {
		if (i - answered == WINDOW) {
			receive(fd, sizeof(*order));
			answered += ANSWER;
		}
		send_one(fd, order->size);
	}
	for (; answered < order->count; answered += ANSWER)
		receive(fd, sizeof(*order));
}

static void receive_all(int fd, const struct order *order)
{
	for (uint32_t i = 1; i <= order->count; i++) {
		receive(fd, order->size);
		if (i % ANSWER == 0 || i == order->count)
			send_one(fd, sizeof(*order));
	}
}

/* --- the server --- */

static void follow(int fd, const struct sockaddr_in *client, const struct order *order)
{
	if (order->size > MESSAGE_MAX ||
	    connect(fd, (const struct sockaddr *)client, sizeof(*client)) < 0)
		fail("client");
	if (order->from)
		send_all(fd, order);
	else
		receive_all(fd, order);
}

/* In a process of its own, which may fail. */
static void serve_datagrams(int fd)
{
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	struct order order;

	if (recvfrom(fd, &order, sizeof(order), 0, (struct sockaddr *)&from, &len) != sizeof(order))
		return;
	if (fork() == 0) {
		follow(fd, &from, &order);
		exit(0);
	}
	wait(NULL);
	connect(fd, &nobody, sizeof(nobody));
}

static void send_back(int fd)
{
	int yes = 1;
	ssize_t n;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		if (write(fd, bytes, (size_t)n) != n)
			break;
	close(fd);
}

/* In the lab a guest may sleep on where it should not (tests/lab/README.md): not for long. */
static void wake_now_and_then(void)
{
	if (fork() == 0)
		for (;;)
			usleep(10000);
}

static void __attribute__((noreturn)) serve(const char *port)
{
	struct sockaddr_in any = address_of("0.0.0.0", port);
	bool tcp = fork() == 0;
	int fd = open_socket(tcp ? SOCK_STREAM : SOCK_DGRAM, tcp ? 0 : LIMIT / 2), yes = 1;

	if (!tcp)
		wake_now_and_then();
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || (tcp && listen(fd, 8) < 0))
		fail("listen");
	for (;;)
		if (tcp)
			send_back(accept(fd, NULL, NULL));
		else
			serve_datagrams(fd);
}

/* --- the client --- */

static void exchange(int fd, const struct order *order, bool talk)
{
	if (talk) {
		for (uint32_t i = 0; i < order->count; i++) {
			send_one(fd, order->size);
			receive(fd, order->size);
		}
		return;
	}
	if (send(fd, order, sizeof(*order), 0) != sizeof(*order))
		fail("send");
	if (order->from)
		receive_all(fd, order);
	else
		send_all(fd, order);
}

/* Of all CPUs, in ns, to a hundredth of a second: idle, and idle while a disk is waited for. */
static double idle(void)
{
	unsigned long long ticks[2];
	FILE *file = fopen("/proc/stat", "r");

	if (!file || fscanf(file, "cpu %*u %*u %*u %llu %llu", &ticks[0], &ticks[1]) != 2)
		fail("/proc/stat");
	fclose(file);
	return (double)(ticks[0] + ticks[1]) * 1e9 / (double)sysconf(_SC_CLK_TCK);
}

static void measure(int fd, const struct order *order, bool talk)
{
	uint64_t start;
	double rest;

	exchange(fd, order, talk);
	start = monotonic_ns();
	rest = idle();
	exchange(fd, order, talk);
	rest = idle() - rest;
	printf("%.0f %.0f\n", (double)(monotonic_ns() - start) / order->count, rest / order->count);
}

int main(int argc, char **argv)
{
	bool talk = argc == 6 && !strcmp(argv[1], "talk"),
	     from = argc == 6 && !strcmp(argv[1], "from");
	struct sockaddr_in to;
	struct order order;
	int fd, yes = 1;

	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(argv[2]);
	if (!talk && !from && (argc != 6 || strcmp(argv[1], "to") != 0)) {
		fprintf(stderr,
			"usage: packets serve PORT, packets to|from|talk SIZE COUNT ADDRESS PORT\n");
		return 2;
	}
	order = (struct order){
		.size = (uint32_t)atoi(argv[2]), .count = (uint32_t)atoi(argv[3]), .from = from};
	to = address_of(argv[4], argv[5]);
	fd = open_socket(talk ? SOCK_STREAM : SOCK_DGRAM, LIMIT);
	if (!order.size || order.size > MESSAGE_MAX ||
	    (talk && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) < 0) ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		fail(argv[4]);
	measure(fd, &order, talk);
	return 0;
}
