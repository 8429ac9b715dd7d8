#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/iov.h"
#include "devices/vsock_internal.h"

static bool has_both(const struct vsock_connection *c)
{
	return c->shared && c->in.fd >= 0 && c->out.fd >= 0;
}

void connection_close_in(struct vsock_connection *c)
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

static void tell_buffered(const struct vsock_connection *c, bool buffered)
{
	const struct vsock_options *options = &c->vsock->options;

	if (c->by_connect && options->buffered)
		options->buffered(options->ctx, c->host_port, buffered);
}

void connection_close_out(struct vsock_connection *c)
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
	if (c->buffer_len)
		tell_buffered(c, false);
	c->buffer_len = 0;
}

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
void connection_forwarded(struct vsock_connection *c, uint32_t len)
{
	c->fwd_cnt += len;
	if (c->fwd_cnt - c->fwd_told >= VSOCK_BUF_ALLOC / 4)
		connection_owe(c, VSOCK_OWES_CREDIT);
}

void connection_out_failed(struct vsock_connection *c)
{
	connection_close_out(c);
	connection_owe_shutdown(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
	if (c->fwd_cnt != c->fwd_told)
		connection_owe(c, VSOCK_OWES_CREDIT);
}

void connection_write_buffered(struct vsock_connection *c)
{
	while (c->out.fd >= 0 && c->buffer_len) {
		struct iovec iov[2];
		ssize_t ret = stream_write(&c->out, iov, buffered(c, iov));

		if (ret == -EAGAIN || ret == 0)
			return;
		if (ret < 0) {
			connection_out_failed(c);
			return;
		}
		c->buffer_start = (c->buffer_start + (uint32_t)ret) % VSOCK_BUF_ALLOC;
		c->buffer_len -= (uint32_t)ret;
		if (!c->buffer_len)
			tell_buffered(c, false);
		connection_forwarded(c, (uint32_t)ret);
	}
}

bool connection_buffer_put(struct vsock_connection *c, const struct virtqueue_chain *chain,
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
	if (!c->buffer_len)
		tell_buffered(c, true);
	c->buffer_len += len;
	return true;
}

bool connection_wants_in(const struct vsock_connection *c)
{
	return c->state == VSOCK_OPEN && c->in.fd >= 0;
}

static uint32_t in_events(const struct vsock_connection *c)
{
	/* Until the guest has answered, only whether the client is still there matters. */
	if (c->state == VSOCK_REQUESTED)
		return EPOLLHUP;
	return connection_wants_in(c) && !c->readable && connection_credit(c) ? EPOLLIN : 0;
}

static uint32_t out_events(const struct vsock_connection *c)
{
	return c->out.fd >= 0 && c->buffer_len ? EPOLLOUT : 0;
}

static void in_event(struct loop_watch *watch, uint32_t events);
static void out_event(struct loop_watch *watch, uint32_t events);

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
	connection_set_pending(c);
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
	connection_write_buffered(c);
	return 0;
}

void connection_watch(struct vsock_connection *c)
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

static void handle_event(struct vsock_connection *c, bool in, bool out)
{
	if (c->state == VSOCK_REQUESTED && in) {
		/* The client hung up before the guest answered. */
		connection_kill(c, true);
		return;
	}
	if (out)
		connection_write_buffered(c);
	if (in && connection_wants_in(c)) {
		c->readable = true;
		connection_set_pending(c);
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
