#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "devices/vsock_internal.h"

#define HANDSHAKE_MAX 32 /* "CONNECT 4294967295\n" and some */

/* A client of the hybrid listener that has not said where it wants to go. */
struct vsock_handshake {
	LIST_ENTRY(vsock_handshake) entry;
	struct vsock *vsock;
	struct loop_watch watch;
	int fd;
	char line[HANDSHAKE_MAX];
	size_t len;
};

static void handshake_end(struct vsock_handshake *shake)
{
	struct vsock *vsock = shake->vsock;

	loop_del(vsock->loop, &shake->watch);
	close_fd(&shake->fd);
	LIST_REMOVE(shake, entry);
	free(shake);
	vsock->handshake_count--;
	/* There is room for one more. */
	hybrid_resume(vsock);
}

void hybrid_resume(struct vsock *vsock)
{
	vsock->listen_paused = false;
	if (vsock->handshake_count < VSOCK_HANDSHAKES_MAX)
		loop_mod(vsock->loop, &vsock->listen_watch, EPOLLIN);
}

/* Host ports of hybrid connections are made up; they only have to differ. */
static uint32_t choose_port(struct vsock *vsock, uint32_t guest_port)
{
	uint32_t port;

	/* Ends, as there are fewer connections than ports. */
	do {
		port = vsock->next_port;
		/* The last one is VMADDR_PORT_ANY. */
		vsock->next_port = port + 1 == UINT32_MAX ? VSOCK_HYBRID_PORT : port + 1;
	} while (vsock_find(vsock, guest_port, port));
	return port;
}

static void connect_guest(struct vsock_handshake *shake, uint32_t guest_port)
{
	struct vsock *vsock = shake->vsock;
	struct vsock_endpoint endpoint;
	struct vsock_connection *c;

	/* Nobody there yet: the client tries again. */
	if (!vsock->dev.active || vsock->dev.broken)
		return;
	loop_del(vsock->loop, &shake->watch);
	endpoint.in_fd = endpoint.out_fd = take_fd(&shake->fd);
	c = connection_create(vsock, guest_port, choose_port(vsock, guest_port), &endpoint);
	if (!c)
		return;
	c->state = VSOCK_REQUESTED;
	connection_owe(c, VSOCK_OWES_REQUEST);
	connection_settle(c);
}

/* "CONNECT <port>\n", decimal and nothing else. */
static bool parse_connect(const char *line, uint32_t *port)
{
	static const char word[] = "CONNECT ";
	unsigned long value;
	char *end;

	if (strncmp(line, word, sizeof(word) - 1) != 0)
		return false;
	line += sizeof(word) - 1;
	if (*line < '0' || *line > '9')
		return false;
	errno = 0;
	value = strtoul(line, &end, 10);
	if (errno || *end || value >= UINT32_MAX)
		return false;
	*port = (uint32_t)value;
	return true;
}

/*
 * Reads on up to the end of the line and no further: what follows belongs to the guest. Pieces of
 * the line are taken as they come, or the descriptor would stay readable and the loop busy.
 * Returns 1 when the line is there, without its end, 0 when it is not complete, or -EPROTO.
 */
static int read_line(struct vsock_handshake *shake)
{
	char *at = shake->line + shake->len, *end;
	ssize_t len = recv(shake->fd, at, HANDSHAKE_MAX - shake->len, MSG_PEEK | MSG_DONTWAIT);

	if (len < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -EPROTO;
	if (len == 0)
		return -EPROTO;
	end = memchr(at, '\n', (size_t)len);
	if (end)
		len = end - at + 1;
	if (recv(shake->fd, at, (size_t)len, MSG_DONTWAIT) != len)
		return -EPROTO;
	shake->len += (size_t)len;
	if (!end)
		return shake->len < HANDSHAKE_MAX ? 0 : -EPROTO;
	*end = '\0';
	return 1;
}

static void handshake_ready(struct loop_watch *watch, uint32_t events)
{
	struct vsock_handshake *shake = container_of(watch, struct vsock_handshake, watch);
	struct vsock *vsock = shake->vsock;
	uint32_t port;
	int ret;

	vsock_enter(vsock);
	ret = read_line(shake);
	if (ret > 0 && parse_connect(shake->line, &port))
		connect_guest(shake, port);
	if (ret != 0 || (events & (EPOLLHUP | EPOLLERR)))
		handshake_end(shake);
	vsock_leave(vsock);
}

static void handshake_start(struct vsock *vsock, int fd)
{
	struct vsock_handshake *shake = calloc(1, sizeof(*shake));

	if (!shake) {
		close(fd);
		return;
	}
	shake->vsock = vsock;
	shake->fd = fd;
	LIST_INSERT_HEAD(&vsock->handshakes, shake, entry);
	vsock->handshake_count++;
	if (loop_add(vsock->loop, &shake->watch, fd, EPOLLIN, handshake_ready) < 0)
		handshake_end(shake);
	else if (vsock->handshake_count == VSOCK_HANDSHAKES_MAX)
		loop_mod(vsock->loop, &vsock->listen_watch, 0);
}

static void accept_ready(struct loop_watch *watch, uint32_t events)
{
	struct vsock *vsock = container_of(watch, struct vsock, listen_watch);
	int fd;

	(void)events;
	/* The accepted description is ours alone, whatever the listener's flags are. */
	fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		/* Mostly EMFILE, which does not go away by trying: something has to end first. */
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
			vsock->listen_paused = true;
			loop_mod(vsock->loop, &vsock->listen_watch, 0);
		}
		return;
	}
	vsock_enter(vsock);
	handshake_start(vsock, fd);
	vsock_leave(vsock);
}

int hybrid_listen(struct vsock *vsock, int fd, struct error *err)
{
	int ret = loop_add(vsock->loop, &vsock->listen_watch, fd, EPOLLIN, accept_ready);

	if (ret < 0)
		return error_set(err, -ret, "vsock: watch the listening socket");
	vsock->listen_fd = fd;
	return 0;
}

void hybrid_stop(struct vsock *vsock)
{
	struct vsock_handshake *shake;

	loop_del(vsock->loop, &vsock->listen_watch);
	close_fd(&vsock->listen_fd);
	while ((shake = LIST_FIRST(&vsock->handshakes)))
		handshake_end(shake);
}

int hybrid_connect(struct vsock *vsock, uint32_t port)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	cleanup_fd int fd = -1;
	int len;

	if (!vsock->hybrid_path)
		return -ENOENT;
	len = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s_%u", vsock->hybrid_path, port);
	if (len < 0 || (size_t)len >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* A backlog that is full counts as a refusal: waiting would hold up every connection. */
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return take_fd(&fd);
}

bool hybrid_accepted(struct vsock_connection *c)
{
	char line[HANDSHAKE_MAX];
	int len = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	return send(c->out.fd, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) == len;
}
