#include <string.h>

#include "devices/virtio_state.h"
#include "devices/vsock_internal.h"

/* What guest and device have to agree on about a connection. Its host end is made anew. */
struct saved_connection {
	uint32_t guest_port;
	uint32_t host_port;
	uint32_t owes;
	uint32_t guest_shutdown;
	uint32_t local_shutdown;
	uint32_t peer_buf_alloc;
	uint32_t peer_fwd_cnt;
	uint32_t sent;
	uint32_t fwd_cnt;
	uint32_t fwd_told;
};

static int save_connection(const struct vsock_connection *c, struct saved_connection *saved)
{
	/* Nobody could make its host end anew. */
	if (!c->by_connect)
		return -ENOTSUP;
	/* Bytes that the guest believes delivered, and who is half-way in, cannot come along. */
	if (c->state != VSOCK_OPEN || c->buffer_len)
		return -EBUSY;
	*saved = (struct saved_connection){
		.guest_port = c->guest_port,
		.host_port = c->host_port,
		.owes = c->owes,
		.guest_shutdown = c->guest_shutdown,
		.local_shutdown = c->local_shutdown,
		.peer_buf_alloc = c->peer_buf_alloc,
		.peer_fwd_cnt = c->peer_fwd_cnt,
		.sent = c->sent,
		.fwd_cnt = c->fwd_cnt,
		.fwd_told = c->fwd_told,
	};
	return 0;
}

int vsock_save(struct virtio_device *dev, struct records *out, uint32_t number, struct error *err)
{
	struct vsock *vsock = container_of(dev, struct vsock, dev);
	struct saved_connection saved[VSOCK_SAVED_MAX];
	const struct vsock_connection *c;
	unsigned int count = 0;
	int ret;

	if (vsock->rst_count || vsock->tx_waits || !TAILQ_EMPTY(&vsock->pending))
		return error_say(err, EBUSY, "vsock: packets wait for the guest");
	LIST_FOREACH(c, &vsock->all, all)
	{
		if (c->state == VSOCK_DEAD)
			continue;
		ret = count < VSOCK_SAVED_MAX ? save_connection(c, &saved[count++]) : -EBUSY;
		if (ret == -ENOTSUP)
			return error_say(err, ENOTSUP,
					 "a connection through vsock.sock cannot be carried");
		if (ret < 0)
			return error_say(err, EBUSY,
					 "vsock: what the container wrote was not read yet");
	}
	records_put(out, VIRTIO_STATE_VSOCK, number, saved, count * sizeof(saved[0]));
	return 0;
}

static int load_connection(struct vsock *vsock, const struct saved_connection *saved)
{
	const uint32_t flags = VSOCK_SHUTDOWN_BOTH;
	struct vsock_endpoint endpoint = {.in_fd = -1, .out_fd = -1};
	struct vsock_connection *c;
	int ret = -ENOENT;

	if ((saved->guest_shutdown | saved->local_shutdown) & ~flags)
		return -EPROTO;
	if (vsock_find(vsock, saved->guest_port, saved->host_port))
		return -EPROTO;
	if (vsock->options.connect)
		ret = vsock->options.connect(vsock->options.ctx, saved->host_port, &endpoint);
	if (ret < 0)
		return ret;
	c = connection_create(vsock, saved->guest_port, saved->host_port, &endpoint);
	if (!c) {
		if (vsock->options.closed)
			vsock->options.closed(vsock->options.ctx, saved->host_port);
		return -ENOMEM;
	}
	c->by_connect = true;
	c->state = VSOCK_OPEN;
	c->guest_shutdown = saved->guest_shutdown;
	c->local_shutdown = saved->local_shutdown;
	c->peer_buf_alloc = saved->peer_buf_alloc;
	c->peer_fwd_cnt = saved->peer_fwd_cnt;
	c->sent = saved->sent;
	c->fwd_cnt = saved->fwd_cnt;
	c->fwd_told = saved->fwd_told;
	connection_owe(c, saved->owes & (VSOCK_OWES_SHUTDOWN | VSOCK_OWES_CREDIT));
	connection_settle(c);
	return 0;
}

int vsock_load(struct virtio_device *dev, const struct records *in, uint32_t number,
	       struct error *err)
{
	struct vsock *vsock = container_of(dev, struct vsock, dev);
	struct saved_connection saved[VSOCK_SAVED_MAX];
	size_t len = 0;
	const void *data = records_find(in, VIRTIO_STATE_VSOCK, number, &len);

	if (!data || len % sizeof(saved[0]) || len > sizeof(saved))
		return error_say(err, EPROTO, "vsock: the saved state does not fit");
	memcpy(saved, data, len);
	for (size_t i = 0; i < len / sizeof(saved[0]); i++) {
		int ret = load_connection(vsock, &saved[i]);

		if (ret < 0)
			return error_set(err, -ret, "vsock: connection of the guest to port %u",
					 saved[i].host_port);
	}
	return 0;
}
