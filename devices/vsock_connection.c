#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "devices/iov.h"
#include "devices/vsock_internal.h"

/* Bytes of one packet to the guest; buffers are usually smaller. */
#define RW_MAX (64u * 1024)

static bool has_both(const struct vsock_connection *c)
{
	return c->shared && c->in.fd >= 0 && c->out.fd >= 0;
}

/* Closes what is read from. Of a shared descriptor only that half, while the other is needed. */
static void close_in(struct vsock_connection *c)
{
	if (c->in.fd < 0)
		return;
	if (has_both(c)) {
		shutdown(c->in.fd, SHUT_RD);
	} else {
		loop_del(c->vsock->loop, &c->in_watch);
		close(c->in.fd);
	}
	c->in.fd = -1;
	c->readable = false;
}

static void close_out(struct vsock_connection *c)
{
	if (c->out.fd < 0)
		return;
	if (has_both(c)) {
		shutdown(c->out.fd, SHUT_WR);
	} else {
		loop_del(c->vsock->loop, c->shared ? &c->in_watch : &c->out_watch);
		close(c->out.fd);
	}
	c->out.fd = -1;
	free(c->buffer);
	c->buffer = NULL;
	/* What cannot be delivered any more is out of our hands. */
	c->fwd_cnt += c->buffer_len;
	c->buffer_len = 0;
}

static void set_pending(struct vsock_connection *c)
{
	if (c->is_pending)
		return;
	TAILQ_INSERT_TAIL(&c->vsock->pending, c, pending);
	c->is_pending = true;
}

static void clear_pending(struct vsock_connection *c)
{
	if (c->is_pending)
		TAILQ_REMOVE(&c->vsock->pending, c, pending);
	c->is_pending = false;
}

void connection_owe(struct vsock_connection *c, unsigned int what)
{
	c->owes |= what;
	set_pending(c);
}

/* Ends a direction as far as the guest is concerned. */
static void owe_shutdown(struct vsock_connection *c, uint32_t flags)
{
	if ((c->local_shutdown & flags) == flags)
		return;
	c->local_shutdown |= flags;
	connection_owe(c, VSOCK_OWES_SHUTDOWN);
}

static void leave_bucket(struct vsock_connection *c)
{
	if (c->in_bucket)
		LIST_REMOVE(c, bucket);
	c->in_bucket = false;
}

void connection_kill(struct vsock_connection *c, bool rst)
{
	struct vsock *vsock = c->vsock;

	close_in(c);
	close_out(c);
	leave_bucket(c);
	c->state = VSOCK_DEAD;
	c->owes = 0;
	clear_pending(c);
	if (rst && vsock->dev.active)
		connection_owe(c, VSOCK_OWES_RST);
	vsock->graves = true;
	if (c->by_connect && vsock->options.closed)
		vsock->options.closed(vsock->options.ctx, c->host_port);
	c->by_connect = false;
}

void connection_detach(struct vsock_connection *c)
{
	leave_bucket(c);
	clear_pending(c);
	c->owes = 0;
	if (c->state != VSOCK_DEAD)
		c->state = VSOCK_DETACHED;
}

void connection_free(struct vsock_connection *c)
{
	clear_pending(c);
	LIST_REMOVE(c, all);
	c->vsock->count--;
	free(c->buffer);
	free(c);
}

/* 5.10.6.3: what the guest can still take. A guest that contradicts itself gets nothing. */
static uint32_t peer_credit(const struct vsock_connection *c)
{
	uint32_t in_flight = c->sent - c->peer_fwd_cnt;

	return in_flight < c->peer_buf_alloc ? c->peer_buf_alloc - in_flight : 0;
}

static bool wants_in(const struct vsock_connection *c)
{
	return c->state == VSOCK_OPEN && c->in.fd >= 0;
}

static void in_event(struct loop_watch *watch, uint32_t events);
static void out_event(struct loop_watch *watch, uint32_t events);

/* Waiting for nothing means no watch at all: hang-ups are level-triggered, and never masked. */
static int set_watch(struct vsock_connection *c, struct loop_watch *watch, int fd, uint32_t events,
		     loop_fn *fn)
{
	if (!events) {
		loop_del(c->vsock->loop, watch);
		return 0;
	}
	if (watch->active)
		return loop_mod(c->vsock->loop, watch, events);
	return loop_add(c->vsock->loop, watch, fd, events, fn);
}

static unsigned int buffered(const struct vsock_connection *c, struct iovec iov[2])
{
	uint32_t first = VSOCK_BUF_ALLOC - c->buffer_start;

	if (first > c->buffer_len)
		first = c->buffer_len;
	iov[0].iov_base = c->buffer + c->buffer_start;
	iov[0].iov_len = first;
	iov[1].iov_base = c->buffer;
	iov[1].iov_len = c->buffer_len - first;
	return iov[1].iov_len ? 2 : 1;
}

/* Tells the guest of its credit before it runs out of it, but not for every byte. */
static void forwarded(struct vsock_connection *c, uint32_t len)
{
	c->fwd_cnt += len;
	if (c->fwd_cnt - c->fwd_told >= VSOCK_BUF_ALLOC / 4)
		connection_owe(c, VSOCK_OWES_CREDIT);
}

/* Nobody reads what the guest sends: it shall know, and stop. */
static void out_failed(struct vsock_connection *c)
{
	close_out(c);
	owe_shutdown(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
	if (c->fwd_cnt != c->fwd_told)
		connection_owe(c, VSOCK_OWES_CREDIT);
}

static void write_buffered(struct vsock_connection *c)
{
	while (c->out.fd >= 0 && c->buffer_len) {
		struct iovec iov[2];
		ssize_t ret = stream_write(&c->out, iov, buffered(c, iov));

		if (ret == -EAGAIN || ret == 0)
			return;
		if (ret < 0) {
			out_failed(c);
			return;
		}
		c->buffer_start = (c->buffer_start + (uint32_t)ret) % VSOCK_BUF_ALLOC;
		c->buffer_len -= (uint32_t)ret;
		forwarded(c, (uint32_t)ret);
	}
}

static uint32_t in_events(const struct vsock_connection *c)
{
	/* Until the guest has answered, only whether the client is still there matters. */
	if (c->state == VSOCK_REQUESTED)
		return EPOLLHUP;
	return wants_in(c) && !c->readable && peer_credit(c) ? EPOLLIN : 0;
}

static uint32_t out_events(const struct vsock_connection *c)
{
	return c->out.fd >= 0 && c->buffer_len ? EPOLLOUT : 0;
}

static int watch_shared(struct vsock_connection *c)
{
	int fd = c->in.fd >= 0 ? c->in.fd : c->out.fd;

	if (fd < 0)
		return 0;
	return set_watch(c, &c->in_watch, fd, in_events(c) | out_events(c), in_event);
}

static int watch_in(struct vsock_connection *c)
{
	int ret = c->in.fd < 0 ? 0 : set_watch(c, &c->in_watch, c->in.fd, in_events(c), in_event);

	if (ret != -EPERM)
		return ret;
	/* epoll has no use for what is always ready (a file, /dev/null). */
	c->in.kind = STREAM_ALWAYS;
	c->readable = true;
	set_pending(c);
	return 0;
}

static int watch_out(struct vsock_connection *c)
{
	int ret = 0;

	if (c->out.fd >= 0)
		ret = set_watch(c, &c->out_watch, c->out.fd, out_events(c), out_event);
	if (ret != -EPERM)
		return ret;
	c->out.kind = STREAM_ALWAYS;
	write_buffered(c);
	return 0;
}

static void update_watches(struct vsock_connection *c)
{
	int ret;

	if (c->shared) {
		ret = watch_shared(c);
	} else {
		ret = watch_in(c);
		if (ret == 0)
			ret = watch_out(c);
	}
	if (ret < 0)
		connection_kill(c, true);
}

/* Closes the directions that are over, and the connection with the last of them. */
static void close_finished(struct vsock_connection *c)
{
	bool drained = !c->buffer_len;

	if (c->state == VSOCK_DETACHED) {
		c->owes = 0;
		clear_pending(c);
		close_in(c);
		if (drained)
			connection_kill(c, false);
		return;
	}
	if (c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV)
		close_in(c);
	if ((c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) && drained)
		close_out(c);
	/* 5.10.6.5: a connection that both ends have shut down is confirmed with an RST. */
	if (c->guest_shutdown == VSOCK_SHUTDOWN_BOTH && drained)
		connection_kill(c, true);
}

void connection_settle(struct vsock_connection *c)
{
	if (c->state == VSOCK_OPEN || c->state == VSOCK_DETACHED)
		close_finished(c);
	if (c->state != VSOCK_DEAD)
		update_watches(c);
}

static void handle_event(struct vsock_connection *c, bool in, bool out)
{
	if (c->state == VSOCK_REQUESTED && in) {
		/* The client hung up before the guest answered. */
		connection_kill(c, true);
		return;
	}
	if (out)
		write_buffered(c);
	if (in && wants_in(c)) {
		c->readable = true;
		set_pending(c);
	}
}

static void in_event(struct loop_watch *watch, uint32_t events)
{
	struct vsock_connection *c = container_of(watch, struct vsock_connection, in_watch);
	struct vsock *vsock = c->vsock;

	vsock_enter(vsock);
	handle_event(c, events & ~(uint32_t)EPOLLOUT, c->shared && (events & ~(uint32_t)EPOLLIN));
	/* What can be sent is sent first: then there is mostly nothing to change about watches. */
	vsock_flush(vsock);
	connection_settle(c);
	vsock_leave(vsock);
}

static void out_event(struct loop_watch *watch, uint32_t events)
{
	struct vsock_connection *c = container_of(watch, struct vsock_connection, out_watch);
	struct vsock *vsock = c->vsock;

	(void)events;
	vsock_enter(vsock);
	handle_event(c, false, true);
	connection_settle(c);
	vsock_leave(vsock);
}

struct vsock_connection *connection_create(struct vsock *vsock, uint32_t guest_port,
					   uint32_t host_port,
					   const struct vsock_endpoint *endpoint)
{
	struct vsock_connection *c = NULL;

	if (vsock->count < VSOCK_CONNECTIONS_MAX)
		c = calloc(1, sizeof(*c));
	if (!c) {
		if (endpoint->in_fd >= 0)
			close(endpoint->in_fd);
		if (endpoint->out_fd >= 0 && endpoint->out_fd != endpoint->in_fd)
			close(endpoint->out_fd);
		return NULL;
	}
	c->vsock = vsock;
	c->guest_port = guest_port;
	c->host_port = host_port;
	stream_init(&c->in, endpoint->in_fd);
	stream_init(&c->out, endpoint->out_fd);
	c->shared = endpoint->in_fd >= 0 && endpoint->in_fd == endpoint->out_fd;
	LIST_INSERT_HEAD(&vsock->all, c, all);
	vsock_insert(vsock, c);
	vsock->count++;
	return c;
}

/* Puts payload that could not be written at once into the ring. There is room: see receive_rw. */
static bool buffer_put(struct vsock_connection *c, const struct virtqueue_chain *chain,
		       size_t offset, uint32_t len)
{
	uint32_t at = (c->buffer_start + c->buffer_len) % VSOCK_BUF_ALLOC;
	uint32_t first = VSOCK_BUF_ALLOC - at;

	if (!c->buffer)
		c->buffer = malloc(VSOCK_BUF_ALLOC);
	if (!c->buffer)
		return false;
	if (first > len)
		first = len;
	iov_read(chain->iov, chain->readable, offset, c->buffer + at, first);
	iov_read(chain->iov, chain->readable, offset + first, c->buffer, len - first);
	c->buffer_len += len;
	return true;
}

static void receive_rw(struct vsock_connection *c, uint32_t len,
		       const struct virtqueue_chain *chain)
{
	struct vsock *vsock = c->vsock;
	size_t offset = sizeof(struct virtio_vsock_hdr);
	ssize_t ret = 0;

	/* More than it had credit for, or after it said there would be no more. */
	if (len > VSOCK_BUF_ALLOC - c->buffer_len ||
	    (c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND)) {
		connection_kill(c, true);
		return;
	}
	if (!len)
		return;
	if (c->out.fd < 0) {
		forwarded(c, len);
		return;
	}
	if (!c->buffer_len) {
		unsigned int count = iov_slice(vsock->iov, chain->iov, chain->readable, offset,
					       len);

		ret = stream_write(&c->out, vsock->iov, count);
		if (ret < 0 && ret != -EAGAIN) {
			forwarded(c, len);
			out_failed(c);
			return;
		}
		if (ret < 0)
			ret = 0;
		forwarded(c, (uint32_t)ret);
	}
	if ((uint32_t)ret < len && !buffer_put(c, chain, offset + (size_t)ret, len - (uint32_t)ret))
		connection_kill(c, true);
	else if (c->out.kind == STREAM_ALWAYS || c->out.kind == STREAM_POLLED)
		write_buffered(c);
}

static void guest_accepts(struct vsock_connection *c)
{
	c->state = VSOCK_OPEN;
	/* It may have asked for credit before. */
	if (c->owes)
		set_pending(c);
	if (!hybrid_accepted(c))
		connection_kill(c, true);
}

void connection_receive(struct vsock_connection *c, const struct virtio_vsock_hdr *header,
			const struct virtqueue_chain *chain)
{
	bool requested = c->state == VSOCK_REQUESTED;

	c->peer_buf_alloc = header->buf_alloc;
	c->peer_fwd_cnt = header->fwd_cnt;
	/* Asking again for what was just refused would go to and fro for ever. */
	if (peer_credit(c))
		c->credit_request = false;
	switch (header->op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		if (requested)
			guest_accepts(c);
		else
			connection_kill(c, true);
		break;
	case VIRTIO_VSOCK_OP_RST:
		connection_detach(c);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		c->guest_shutdown |= header->flags & VSOCK_SHUTDOWN_BOTH;
		break;
	case VIRTIO_VSOCK_OP_RW:
		if (requested)
			connection_kill(c, true);
		else
			receive_rw(c, header->len, chain);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		connection_owe(c, VSOCK_OWES_CREDIT);
		break;
	default: /* a second REQUEST, or nothing we know */
		connection_kill(c, true);
	}
	/* There may be credit again for what waits to be read. */
	if (c->state == VSOCK_OPEN && c->readable)
		set_pending(c);
	connection_settle(c);
}

static void send_header(struct vsock_connection *c, uint16_t op, uint32_t flags, uint32_t len)
{
	struct virtio_vsock_hdr header = {
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.len = len,
		.op = op,
		.flags = flags,
		.buf_alloc = VSOCK_BUF_ALLOC,
		.fwd_cnt = c->fwd_cnt,
	};

	c->fwd_told = c->fwd_cnt;
	c->owes &= ~(unsigned int)VSOCK_OWES_CREDIT;
	vsock_rx_send(c->vsock, &header);
}

static enum vsock_sent send_control(struct vsock_connection *c, enum vsock_owed what, uint16_t op,
				    uint32_t flags)
{
	if (!vsock_rx_take(c->vsock))
		return VSOCK_NO_BUFFER;
	c->owes &= ~(unsigned int)what;
	send_header(c, op, flags, 0);
	return VSOCK_SENT;
}

/* End of file, or an error, which a reader of a byte stream sees as one. */
static enum vsock_sent in_ended(struct vsock_connection *c)
{
	close_in(c);
	owe_shutdown(c, VIRTIO_VSOCK_SHUTDOWN_SEND);
	return VSOCK_SENT; /* comes round again, for the shutdown */
}

/* Reads straight into the guest's buffer, whose header follows when the length is known. */
static enum vsock_sent send_data(struct vsock_connection *c)
{
	struct vsock *vsock = c->vsock;
	struct virtqueue_chain *chain = &vsock->chain;
	uint32_t len = peer_credit(c);
	unsigned int count;
	ssize_t ret;

	if (!vsock_rx_take(vsock))
		return VSOCK_NO_BUFFER;
	if (len > RW_MAX)
		len = RW_MAX;
	count = iov_slice(vsock->iov, virtqueue_chain_writable(chain), chain->writable,
			  sizeof(struct virtio_vsock_hdr), len);
	ret = stream_read(&c->in, vsock->iov, count);
	if (ret <= 0) {
		virtqueue_unpop(&vsock->dev.queues[VSOCK_RX]);
		if (ret != -EAGAIN)
			return in_ended(c);
		c->readable = false;
		return VSOCK_NOTHING;
	}
	/* Less than there was room for: a pipe or socket is empty now, epoll says when not. */
	if ((size_t)ret < iov_len(vsock->iov, count) && c->in.kind != STREAM_ALWAYS)
		c->readable = false;
	c->sent += (uint32_t)ret;
	send_header(c, VIRTIO_VSOCK_OP_RW, 0, (uint32_t)ret);
	return VSOCK_SENT;
}

static enum vsock_sent send_open(struct vsock_connection *c)
{
	if (c->owes & VSOCK_OWES_SHUTDOWN)
		return send_control(c, VSOCK_OWES_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN,
				    c->local_shutdown);
	if (c->owes & VSOCK_OWES_CREDIT)
		return send_control(c, VSOCK_OWES_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	if (!wants_in(c) || !c->readable)
		return VSOCK_NOTHING;
	if (peer_credit(c))
		return send_data(c);
	/* Data waits, the credit is used up: ask, once, in case an update got lost on us. */
	if (c->credit_request)
		return VSOCK_NOTHING;
	c->credit_request = true;
	return send_control(c, VSOCK_ASKS_CREDIT, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
}

enum vsock_sent connection_send(struct vsock_connection *c)
{
	enum vsock_sent sent;

	if (c->owes & VSOCK_OWES_RST) {
		sent = send_control(c, VSOCK_OWES_RST, VIRTIO_VSOCK_OP_RST, 0);
		c->vsock->graves = true;
		return sent;
	}
	if (c->owes & VSOCK_OWES_REQUEST)
		return send_control(c, VSOCK_OWES_REQUEST, VIRTIO_VSOCK_OP_REQUEST, 0);
	if (c->owes & VSOCK_OWES_RESPONSE) {
		sent = send_control(c, VSOCK_OWES_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE, 0);
		/* What the host end lacks follows the response, 5.10.6.6. */
		if (sent == VSOCK_SENT && c->in.fd < 0)
			owe_shutdown(c, VIRTIO_VSOCK_SHUTDOWN_SEND);
		if (sent == VSOCK_SENT && c->out.fd < 0)
			owe_shutdown(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
		return sent;
	}
	return c->state == VSOCK_OPEN ? send_open(c) : VSOCK_NOTHING;
}
