#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/event.h"
#include "devices/iov.h"
#include "devices/vsock_internal.h"

#define VSOCK_QUEUE_SIZE 128

static struct vsock *to_vsock(struct virtio_device *dev)
{
	return container_of(dev, struct vsock, dev);
}

static struct vsock_bucket *bucket_of(struct vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	return &vsock->buckets[(guest_port ^ host_port * 31) % VSOCK_BUCKETS];
}

void vsock_insert(struct vsock *vsock, struct vsock_connection *c)
{
	LIST_INSERT_HEAD(bucket_of(vsock, c->guest_port, c->host_port), c, bucket);
	c->in_bucket = true;
}

struct vsock_connection *vsock_find(struct vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_connection *c;

	LIST_FOREACH(c, bucket_of(vsock, guest_port, host_port), bucket)
	{
		if (c->guest_port == guest_port && c->host_port == host_port)
			return c;
	}
	return NULL;
}

bool vsock_rx_take(struct vsock *vsock)
{
	if (!virtio_queue_pop(&vsock->dev, VSOCK_RX, &vsock->chain))
		return false;
	/* 5.10.6.4: a header and something more, or no packet could ever be delivered. */
	if (vsock->chain.writable_len <= sizeof(struct virtio_vsock_hdr)) {
		virtio_device_broken(&vsock->dev, "rx buffer too small");
		return false;
	}
	return true;
}

void vsock_rx_send(struct vsock *vsock, struct virtio_vsock_hdr *header)
{
	struct virtqueue_chain *chain = &vsock->chain;

	header->src_cid = VSOCK_HOST_CID;
	header->dst_cid = vsock->options.guest_cid;
	header->type = VIRTIO_VSOCK_TYPE_STREAM;
	iov_write(virtqueue_chain_writable(chain), chain->writable, 0, header, sizeof(*header));
	virtqueue_put(&vsock->dev.queues[VSOCK_RX], chain->head,
		      (uint32_t)sizeof(*header) + header->len);
}

static bool send_rst(struct vsock *vsock)
{
	const struct vsock_rst *rst = &vsock->rsts[vsock->rst_start];
	struct virtio_vsock_hdr header = {.op = VIRTIO_VSOCK_OP_RST};

	if (!vsock_rx_take(vsock))
		return false;
	header.src_port = rst->host_port;
	header.dst_port = rst->guest_port;
	vsock_rx_send(vsock, &header);
	vsock->rst_start = (vsock->rst_start + 1) % VSOCK_RSTS_MAX;
	vsock->rst_count--;
	return true;
}

/* Round and round the connections, a packet each, until nobody owes or the rx ring is empty. */
void vsock_flush(struct vsock *vsock)
{
	unsigned int budget = VSOCK_PACKETS_ROUND;
	struct vsock_connection *c;

	while (vsock->rst_count)
		if (!send_rst(vsock))
			return;
	while (budget-- && (c = TAILQ_FIRST(&vsock->pending))) {
		enum vsock_sent sent = connection_send(c);

		if (sent == VSOCK_NO_BUFFER)
			return;
		TAILQ_REMOVE(&vsock->pending, c, pending);
		c->is_pending = false;
		if (sent == VSOCK_SENT) {
			TAILQ_INSERT_TAIL(&vsock->pending, c, pending);
			c->is_pending = true;
		} else {
			connection_settle(c);
		}
	}
	/* Files are always readable and a guest can always be quick: others get a turn. */
	if (!TAILQ_EMPTY(&vsock->pending))
		vsock_wake(vsock);
}

static void bury_dead(struct vsock *vsock)
{
	struct vsock_connection *c = vsock->graves ? LIST_FIRST(&vsock->all) : NULL;

	vsock->graves = false;
	while (c) {
		struct vsock_connection *next = LIST_NEXT(c, all);

		if (c->state == VSOCK_DEAD && !c->owes)
			connection_free(c);
		c = next;
	}
}

void vsock_enter(struct vsock *vsock)
{
	pthread_mutex_lock(&vsock->dev.lock);
}

static void finish_round(struct vsock *vsock)
{
	vsock_flush(vsock);
	if (vsock->tx_waits && vsock->rst_count < VSOCK_RSTS_MAX)
		virtio_queue_again(&vsock->dev, VSOCK_TX);
	virtio_queue_interrupt(&vsock->dev, &vsock->dev.queues[VSOCK_RX]);
	bury_dead(vsock);
	if (vsock->listen_paused)
		hybrid_resume(vsock);
}

void vsock_leave(struct vsock *vsock)
{
	finish_round(vsock);
	pthread_mutex_unlock(&vsock->dev.lock);
}

void vsock_wake(struct vsock *vsock)
{
	event_signal(vsock->wake_fd);
}

static void woken(struct loop_watch *watch, uint32_t events)
{
	struct vsock *vsock = container_of(watch, struct vsock, wake_watch);
	struct vsock_connection *c;

	(void)events;
	if (!event_take(watch->fd))
		return;
	vsock_enter(vsock);
	LIST_FOREACH(c, &vsock->all, all)
	{
		if (c->state == VSOCK_DETACHED)
			connection_settle(c);
	}
	vsock_leave(vsock);
}

static void reply_rst(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
	unsigned int at = (vsock->rst_start + vsock->rst_count) % VSOCK_RSTS_MAX;

	vsock->rsts[at].guest_port = header->src_port;
	vsock->rsts[at].host_port = header->dst_port;
	vsock->rst_count++;
}

static int find_endpoint(struct vsock *vsock, uint32_t port, struct vsock_endpoint *endpoint,
			 bool *by_connect)
{
	int ret = -ENOENT;

	*by_connect = false;
	if (vsock->options.connect)
		ret = vsock->options.connect(vsock->options.ctx, port, endpoint);
	if (ret == 0)
		*by_connect = true;
	if (ret != -ENOENT)
		return ret;
	ret = hybrid_connect(vsock, port);
	if (ret < 0)
		return ret;
	endpoint->in_fd = endpoint->out_fd = ret;
	return 0;
}

static void guest_connects(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
	struct vsock_endpoint endpoint = {.in_fd = -1, .out_fd = -1};
	struct vsock_connection *c;
	bool by_connect;

	if (vsock->count >= VSOCK_CONNECTIONS_MAX ||
	    find_endpoint(vsock, header->dst_port, &endpoint, &by_connect) < 0) {
		reply_rst(vsock, header);
		return;
	}
	c = connection_create(vsock, header->src_port, header->dst_port, &endpoint);
	if (!c) {
		if (by_connect && vsock->options.closed)
			vsock->options.closed(vsock->options.ctx, header->dst_port);
		reply_rst(vsock, header);
		return;
	}
	c->by_connect = by_connect;
	c->state = VSOCK_OPEN;
	c->peer_buf_alloc = header->buf_alloc;
	c->peer_fwd_cnt = header->fwd_cnt;
	connection_owe(c, VSOCK_OWES_RESPONSE);
	connection_settle(c);
}

static void tx_packet(struct vsock *vsock, const struct virtqueue_chain *chain)
{
	struct virtio_vsock_hdr header;
	struct vsock_connection *c;

	/* Without a sane sender there is nobody to answer: such packets are dropped. */
	if (iov_read(chain->iov, chain->readable, 0, &header, sizeof(header)) < sizeof(header))
		return;
	if (header.src_cid != vsock->options.guest_cid || header.dst_cid != VSOCK_HOST_CID)
		return;
	c = vsock_find(vsock, header.src_port, header.dst_port);
	if (header.type != VIRTIO_VSOCK_TYPE_STREAM ||
	    header.len > chain->readable_len - sizeof(header)) {
		if (c)
			connection_kill(c, true);
		else if (header.op != VIRTIO_VSOCK_OP_RST)
			reply_rst(vsock, &header);
		return;
	}
	if (c)
		connection_receive(c, &header, chain);
	else if (header.op == VIRTIO_VSOCK_OP_REQUEST)
		guest_connects(vsock, &header);
	else if (header.op != VIRTIO_VSOCK_OP_RST)
		reply_rst(vsock, &header);
}

static void tx_drain(struct vsock *vsock)
{
	struct virtqueue *vq = &vsock->dev.queues[VSOCK_TX];
	unsigned int budget = VSOCK_QUEUE_SIZE;

	vsock->tx_waits = false;
	while (budget) {
		/* Every packet can call for an RST, and those are kept in bounds. */
		if (vsock->rst_count == VSOCK_RSTS_MAX) {
			vsock->tx_waits = true;
			break;
		}
		if (!virtio_queue_pop(&vsock->dev, VSOCK_TX, &vsock->chain))
			break;
		tx_packet(vsock, &vsock->chain);
		virtqueue_put(vq, vsock->chain.head, 0);
		budget--;
	}
	if (!budget)
		virtio_queue_again(&vsock->dev, VSOCK_TX);
	virtio_queue_interrupt(&vsock->dev, vq);
}

/* The lock is held: the transport calls this. */
static void vsock_kicked(struct virtio_device *dev, unsigned int queue)
{
	struct vsock *vsock = to_vsock(dev);

	if (queue == VSOCK_TX)
		tx_drain(vsock);
	/* VSOCK_EVENT: its buffers wait for an event. */
	finish_round(vsock);
}

static void vsock_config_read(struct virtio_device *dev, uint32_t offset, void *buf, size_t len)
{
	struct vsock *vsock = to_vsock(dev);

	virtio_config_copy(&vsock->config, sizeof(vsock->config), offset, buf, len);
}

/*
 * A vCPU's thread, so the loop and its watches are out of bounds: connections are only cut off
 * here; the loop closes them after it has written out what the guest had sent.
 */
static void vsock_reset(struct virtio_device *dev)
{
	struct vsock *vsock = to_vsock(dev);
	struct vsock_connection *c;

	LIST_FOREACH(c, &vsock->all, all)
	connection_detach(c);
	vsock->rst_count = 0;
	vsock->tx_waits = false;
	vsock->graves = true;
	vsock_wake(vsock);
}

static const struct virtio_device_ops vsock_ops = {
	.config_read = vsock_config_read,
	.reset = vsock_reset,
	.queue_kicked = vsock_kicked,
	.save = vsock_save,
	.load = vsock_load,
};

static void vsock_setup(struct vsock *vsock, const struct vsock_options *options,
			const struct guest_memory *mem)
{
	vsock->options = *options;
	vsock->loop = options->loop;
	vsock->wake_fd = vsock->listen_fd = -1;
	vsock->next_port = VSOCK_HYBRID_PORT;
	vsock->config.guest_cid = options->guest_cid;
	LIST_INIT(&vsock->all);
	LIST_INIT(&vsock->handshakes);
	TAILQ_INIT(&vsock->pending);
	vsock->dev.ops = &vsock_ops;
	vsock->dev.name = "vsock";
	vsock->dev.id = VIRTIO_ID_VSOCK;
	virtio_device_init(&vsock->dev, mem, VIRTIO_FEATURES_IN_ORDER, VSOCK_QUEUES,
			   VSOCK_QUEUE_SIZE);
}

int vsock_create(struct vsock **out, const struct vsock_options *options,
		 const struct guest_memory *mem, struct error *err)
{
	struct vsock *vsock = calloc(1, sizeof(*vsock));
	int ret = 0;

	if (!vsock)
		return error_set(err, ENOMEM, "vsock");
	vsock_setup(vsock, options, mem);
	if (options->hybrid_path) {
		vsock->hybrid_path = strdup(options->hybrid_path);
		if (!vsock->hybrid_path)
			ret = error_set(err, ENOMEM, "vsock");
	}
	if (ret == 0) {
		vsock->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (vsock->wake_fd < 0)
			ret = -errno;
		else
			ret = loop_add(vsock->loop, &vsock->wake_watch, vsock->wake_fd, EPOLLIN,
				       woken);
		if (ret < 0)
			error_set(err, -ret, "vsock: wake-up event");
	}
	if (ret == 0 && options->listen_fd >= 0)
		ret = hybrid_listen(vsock, options->listen_fd, err);
	if (ret < 0) {
		vsock_destroy(vsock);
		return ret;
	}
	*out = vsock;
	return 0;
}

void vsock_destroy(struct vsock *vsock)
{
	struct vsock_connection *c;

	if (!vsock)
		return;
	vsock->dev.active = false;
	hybrid_stop(vsock);
	LIST_FOREACH(c, &vsock->all, all)
	{
		if (c->state != VSOCK_DEAD)
			connection_kill(c, false);
		c->owes = 0;
	}
	vsock->graves = true;
	bury_dead(vsock);
	loop_del(vsock->loop, &vsock->wake_watch);
	close_fd(&vsock->wake_fd);
	free(vsock->hybrid_path);
	virtio_device_destroy(&vsock->dev);
	free(vsock);
}

struct virtio_device *vsock_device(struct vsock *vsock)
{
	return &vsock->dev;
}
