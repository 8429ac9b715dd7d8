#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/iov.h"
#include "devices/vsock_internal.h"

/* Bytes of one packet to the guest; buffers are usually smaller. */
#define RW_MAX (64u * 1024)

void connection_set_pending(struct vsock_connection *c)
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
	connection_set_pending(c);
}

void connection_owe_shutdown(struct vsock_connection *c, uint32_t flags)
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

	connection_close_in(c);
	connection_close_out(c);
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
uint32_t connection_credit(const struct vsock_connection *c)
{
	uint32_t in_flight = c->sent - c->peer_fwd_cnt;

	return in_flight < c->peer_buf_alloc ? c->peer_buf_alloc - in_flight : 0;
}

/* Closes the directions that are over, and the connection with the last of them. */
static void close_finished(struct vsock_connection *c)
{
	bool drained = !c->buffer_len;

	if (c->state == VSOCK_DETACHED) {
		c->owes = 0;
		clear_pending(c);
		connection_close_in(c);
		if (drained)
			connection_kill(c, false);
		return;
	}
	if (c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV)
		connection_close_in(c);
	if ((c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) && drained)
		connection_close_out(c);
	/* 5.10.6.5: a connection that both ends have shut down is confirmed with an RST. */
	if (c->guest_shutdown == VSOCK_SHUTDOWN_BOTH && drained)
		connection_kill(c, true);
}

void connection_settle(struct vsock_connection *c)
{
	if (c->state == VSOCK_OPEN || c->state == VSOCK_DETACHED)
		close_finished(c);
	if (c->state != VSOCK_DEAD)
		connection_watch(c);
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
		connection_forwarded(c, len);
		return;
	}
	if (!c->buffer_len) {
		unsigned int count = iov_slice(vsock->iov, chain->iov, chain->readable, offset,
					       len);

		ret = stream_write(&c->out, vsock->iov, count);
		if (ret < 0 && ret != -EAGAIN) {
			connection_forwarded(c, len);
			connection_out_failed(c);
			return;
		}
		if (ret < 0)
			ret = 0;
		connection_forwarded(c, (uint32_t)ret);
	}
	if ((uint32_t)ret < len &&
	    !connection_buffer_put(c, chain, offset + (size_t)ret, len - (uint32_t)ret))
		connection_kill(c, true);
	else if (c->out.kind == STREAM_ALWAYS || c->out.kind == STREAM_POLLED)
		connection_write_buffered(c);
}

static void guest_accepts(struct vsock_connection *c)
{
	c->state = VSOCK_OPEN;
	/* It may have asked for credit before. */
	if (c->owes)
		connection_set_pending(c);
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
	if (connection_credit(c))
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
		connection_set_pending(c);
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
	connection_close_in(c);
	connection_owe_shutdown(c, VIRTIO_VSOCK_SHUTDOWN_SEND);
	return VSOCK_SENT; /* comes round again, for the shutdown */
}

/* Reads straight into the guest's buffer, whose header follows when the length is known. */
static enum vsock_sent send_data(struct vsock_connection *c)
{
	struct vsock *vsock = c->vsock;
	struct virtqueue_chain *chain = &vsock->chain;
	uint32_t len = connection_credit(c);
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
		virtqueue_unpop(&vsock->dev.queues[VSOCK_RX], chain->head, chain->readable_len);
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
	if (!connection_wants_in(c) || !c->readable)
		return VSOCK_NOTHING;
	if (connection_credit(c))
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
			connection_owe_shutdown(c, VIRTIO_VSOCK_SHUTDOWN_SEND);
		if (sent == VSOCK_SENT && c->out.fd < 0)
			connection_owe_shutdown(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
		return sent;
	}
	return c->state == VSOCK_OPEN ? send_open(c) : VSOCK_NOTHING;
}
