#include "guest-agent/resolver.h"

#include <arpa/inet.h>
#include <endian.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "guest-agent/agent.h"

#define QUERIES_MAX 64 /* by UDP, unanswered: the oldest has to go */
#define STREAMS_MAX 16 /* by TCP */
#define LENGTH_LEN  2u
#define HEADER_LEN  12u	 /* RFC 1035, 4.1.1 */
#define TRUNCATED   0x02 /* TC, in the third byte */
/* What a UDP answer may have without a client's fragments in danger (RFC 9715). */
#define ANSWER_MAX 1232u

struct query {
	int fd; /* the connection to the host; -1: free */
	struct loop_watch watch;
	struct sockaddr_in client;
	uint8_t answer[LENGTH_LEN + 65535];
	size_t used;
};

static struct resolver {
	struct loop *loop;
	int udp_fd, tcp_fd;
	struct loop_watch udp_watch, tcp_watch;
	struct query *queries[QUERIES_MAX]; /* made when they are first needed */
	unsigned int next;
	struct channel *streams[STREAMS_MAX];
} resolver = {.udp_fd = -1, .tcp_fd = -1};

static void query_end(struct query *query)
{
	loop_del(resolver.loop, &query->watch);
	close_fd(&query->fd);
	query->used = 0;
}

static void answer_client(const struct query *query)
{
	size_t len = query->used - LENGTH_LEN;
	uint8_t cut[ANSWER_MAX];

	if (len <= ANSWER_MAX) {
		sendto(resolver.udp_fd, query->answer + LENGTH_LEN, len, MSG_DONTWAIT,
		       (const struct sockaddr *)&query->client, sizeof(query->client));
		return;
	}
	/* Too long: the header alone, which says so, and the client asks again by TCP. */
	memcpy(cut, query->answer + LENGTH_LEN, HEADER_LEN);
	cut[2] |= TRUNCATED;
	memset(cut + 4, 0, HEADER_LEN - 4);
	sendto(resolver.udp_fd, cut, HEADER_LEN, MSG_DONTWAIT,
	       (const struct sockaddr *)&query->client, sizeof(query->client));
}

static void answer_ready(struct loop_watch *watch, uint32_t events)
{
	struct query *query = container_of(watch, struct query, watch);
	ssize_t len = recv(query->fd, query->answer + query->used,
			   sizeof(query->answer) - query->used, MSG_DONTWAIT);
	uint16_t want;

	(void)events;
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0) {
		query_end(query);
		return;
	}
	query->used += (size_t)len;
	memcpy(&want, query->answer, sizeof(want));
	if (query->used < LENGTH_LEN || query->used - LENGTH_LEN < be16toh(want))
		return;
	if (be16toh(want) >= HEADER_LEN)
		answer_client(query);
	query_end(query);
}

static struct query *query_take(void)
{
	struct query **slot = &resolver.queries[resolver.next++ % QUERIES_MAX];

	if (*slot && (*slot)->fd >= 0)
		query_end(*slot);
	if (!*slot)
		*slot = calloc(1, sizeof(**slot));
	if (*slot)
		(*slot)->fd = -1;
	return *slot;
}

static void query_begin(const uint8_t *bytes, size_t len, const struct sockaddr_in *client)
{
	struct query *query = query_take();

	if (!query)
		return;
	query->client = *client;
	query->used = 0;
	query->fd = vsock_connect(PROTO_PORT_RESOLVER);
	/* Nobody there: clients ask again, and give up by themselves. */
	if (query->fd < 0)
		return;
	if (send(query->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len ||
	    loop_add(resolver.loop, &query->watch, query->fd, EPOLLIN, answer_ready) < 0)
		close_fd(&query->fd);
}

static void udp_ready(struct loop_watch *watch, uint32_t events)
{
	uint8_t bytes[LENGTH_LEN + 4096];
	struct sockaddr_in client;
	socklen_t client_len = sizeof(client);
	uint16_t length;
	ssize_t len = recvfrom(resolver.udp_fd, bytes + LENGTH_LEN, sizeof(bytes) - LENGTH_LEN,
			       MSG_DONTWAIT, (struct sockaddr *)&client, &client_len);

	(void)watch;
	(void)events;
	if (len < (ssize_t)HEADER_LEN || client_len != sizeof(client))
		return;
	length = htobe16((uint16_t)len);
	memcpy(bytes, &length, sizeof(length));
	query_begin(bytes, LENGTH_LEN + (size_t)len, &client);
}

static void stream_changed(struct channel *channel)
{
	(void)channel;
}

static struct channel *stream_take(void)
{
	for (unsigned int i = 0; i < STREAMS_MAX; i++) {
		struct channel **slot = &resolver.streams[i];

		if (*slot && channel_is_open(*slot))
			continue;
		if (!*slot)
			*slot = calloc(1, sizeof(**slot));
		if (*slot)
			channel_init(*slot);
		return *slot;
	}
	return NULL;
}

static void tcp_ready(struct loop_watch *watch, uint32_t events)
{
	cleanup_fd int client_fd = accept4(resolver.tcp_fd, NULL, NULL, SOCK_CLOEXEC);
	struct channel *channel = client_fd >= 0 ? stream_take() : NULL;
	int host_fd;

	(void)watch;
	(void)events;
	if (!channel)
		return;
	host_fd = vsock_connect(PROTO_PORT_RESOLVER);
	if (host_fd >= 0)
		channel_open(channel, resolver.loop, CHANNEL_BOTH, take_fd(&client_fd), host_fd,
			     stream_changed);
}

static int listen_on(int type, loop_fn *fn, struct loop_watch *watch, struct error *err)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(PROTO_RESOLVER_PORT),
		.sin_addr.s_addr = htonl(PROTO_RESOLVER_ADDRESS),
	};
	cleanup_fd int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, STREAMS_MAX) < 0))
		return error_set(err, errno, "listen at 127.0.0.11");
	ret = loop_add(resolver.loop, watch, fd, EPOLLIN, fn);
	return ret < 0 ? error_set(err, -ret, "watch 127.0.0.11") : take_fd(&fd);
}

int resolver_start(struct loop *loop, struct error *err)
{
	if (resolver.tcp_fd >= 0)
		return 0;
	resolver.loop = loop;
	resolver.udp_fd = listen_on(SOCK_DGRAM, udp_ready, &resolver.udp_watch, err);
	if (resolver.udp_fd < 0)
		return resolver.udp_fd;
	resolver.tcp_fd = listen_on(SOCK_STREAM, tcp_ready, &resolver.tcp_watch, err);
	return resolver.tcp_fd < 0 ? resolver.tcp_fd : 0;
}
