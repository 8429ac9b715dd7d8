#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "devices/iov.h"
#include "devices/net_internal.h"

/*
 * The back end's fd of this pair: it may have fewer queues than the driver uses.
 */
static struct net_pair *outlet(struct net_pair *pair)
{
	return &pair->net->pairs[pair->index % pair->net->fd_count];
}

/*
 * The guest's bytes go to the kernel as they are, header and all; a tap checks the header itself.
 * Returns 0 or a negative errno.
 */
static int send_packet(struct net_pair *out, const struct net_packet *packet)
{
	ssize_t len;

	if (!packet->count)
		return -EINVAL;
	if (out->net->stream) {
		struct iovec frame[VIRTQUEUE_SEGMENTS_MAX];
		size_t frame_len = packet->len - NET_HEADER_LEN;
		unsigned int count = iov_slice(frame, packet->iov, packet->count, NET_HEADER_LEN,
					       frame_len);

		return net_stream_write(out, frame, count, frame_len);
	}
	do
		len = pwritev2(out->fd, packet->iov, (int)packet->count, -1, 0);
	while (len < 0 && errno == EINTR);
	return len < 0 ? -errno : 0;
}

/* How many packets go at once: a stream has them one after the other, and a rate counts each. */
static unsigned int burst_most(const struct net *net)
{
	return net->stream || rate_limit_is_set(&net->tx_gate.limit) ? 1 : WRITE_RING_MAX;
}

/* What is no packet has its place among the others, but nothing to be sent. */
static void burst_add(struct net_burst *burst, const struct virtqueue_chain *chain)
{
	struct net_packet *packet = &burst->packets[burst->count++];

	packet->head = chain->head;
	packet->iov = burst->segments + burst->segment_count;
	packet->count = 0;
	packet->len = chain->readable_len;
	if (chain->readable_len < NET_HEADER_LEN + NET_FRAME_MIN ||
	    chain->readable_len > NET_PACKET_MAX)
		return;
	packet->count = chain->readable;
	packet->iov[0] = chain->iov[0];
	/* Seldom. */
	if (chain->readable > 1)
		memcpy(packet->iov, chain->iov, chain->readable * sizeof(*packet->iov));
	burst->segment_count += chain->readable;
}

/*
 * Takes at most so many packets, as far as there is place for them and the driver has shown some
 * already. A rate, after whose every packet the gate may close, has one a burst.
 */
static void burst_take(struct net_pair *pair, unsigned int most)
{
	struct net *net = pair->net;
	struct net_burst *burst = &net->burst;
	const struct virtqueue *vq = &net->dev.queues[net_tx_queue(pair)];

	burst->count = burst->segment_count = 0;
	if (rate_gate_is_closed(&net->tx_gate))
		return;
	while (virtio_queue_pop(&net->dev, net_tx_queue(pair), &pair->chain)) {
		burst_add(burst, &pair->chain);
		if (burst->count == most || !virtqueue_has_next(vq) ||
		    burst->segment_count > NET_BURST_SEGMENTS - VIRTQUEUE_SEGMENTS_MAX)
			break;
	}
}

/*
 * The next three send the packets of a burst; those that a back end refuses are lost. They return
 * how many came to their end so: all, or those before the one for which the back end has no room.
 */

static unsigned int burst_send_singly(const struct net_burst *burst, struct net_pair *out)
{
	unsigned int sent = 0;

	while (sent < burst->count && send_packet(out, &burst->packets[sent]) != -EAGAIN)
		sent++;
	return sent;
}

/* For a tap, which has room for many; what all the same was overtaken and has none is lost. */
static unsigned int burst_send_at_once(const struct net_burst *burst, struct net_pair *out)
{
	struct write_op ops[WRITE_RING_MAX];
	bool left[WRITE_RING_MAX] = {false};
	unsigned int count = 0, at = 0, gone = 0; /* with the last that was sent */

	for (unsigned int i = 0; i < burst->count; i++) {
		const struct net_packet *packet = &burst->packets[i];

		if (packet->count)
			ops[count++] = (struct write_op){packet->iov, packet->count, 0};
	}
	if (!write_ring_write(out->net->thread->writes, out->fd, ops, count))
		return burst_send_singly(burst, out);
	for (unsigned int i = 0; i < burst->count; i++) {
		left[i] = burst->packets[i].count && ops[at++].result == -EAGAIN;
		if (!left[i])
			gone = i + 1;
	}
	for (unsigned int i = 0; i < burst->count; i++)
		if (left[i] && send_packet(out, &burst->packets[i]) == -EAGAIN && i >= gone)
			return i;
	return burst->count;
}

static unsigned int burst_send(struct net_pair *pair)
{
	struct net *net = pair->net;

	/* Without a link packets go nowhere, as on a wire. */
	if (!net->fd_count)
		return net->burst.count;
	if (net->burst.count > 1 && net->tap && net->thread->writes)
		return burst_send_at_once(&net->burst, outlet(pair));
	return burst_send_singly(&net->burst, outlet(pair));
}

/* Gives back what was sent, to the driver, and what was not, to be taken again. */
static void burst_end(struct net_pair *pair, unsigned int sent)
{
	struct net *net = pair->net;
	struct net_burst *burst = &net->burst;
	struct virtqueue *vq = &net->dev.queues[net_tx_queue(pair)];

	for (unsigned int i = burst->count; i-- > sent;)
		virtqueue_unpop(vq, burst->packets[i].head, burst->packets[i].len);
	for (unsigned int i = 0; i < sent; i++) {
		rate_gate_count(&net->tx_gate, burst->packets[i].len);
		virtqueue_put(vq, burst->packets[i].head, 0);
	}
	if (sent == burst->count)
		return;
	pair->tx_blocked = true;
	net_pair_watch(outlet(pair));
}

static bool is_served(const struct net_pair *pair)
{
	return pair->net->dev.active && !pair->tx_blocked && !pair->vhost;
}

/* Whether there are packets for another burst; if there are none, the driver notifies of the next.
 */
static bool has_more(struct net_pair *pair)
{
	struct net *net = pair->net;

	/* Who has stopped it has it go on, too. */
	if (!is_served(pair) || net->dev.broken || net->dev.held ||
	    rate_gate_is_closed(&net->tx_gate))
		return false;
	return virtqueue_rest(&net->dev.queues[net_tx_queue(pair)]);
}

/* asks: to be notified of what comes next. */
static void transmit(struct net_pair *pair, bool asks)
{
	struct net *net = pair->net;
	struct virtqueue *vq = &net->dev.queues[net_tx_queue(pair)];
	unsigned int budget = NET_BUDGET, most = burst_most(net);
	uint64_t bytes_before = vq->stats.bytes_out;
	bool more = true;

	if (!is_served(pair))
		return;
	while (more && budget) {
		/* What comes while these are sent needs no notification. */
		virtqueue_poll(vq);
		burst_take(pair, most < budget ? most : budget);
		burst_end(pair, burst_send(pair));
		budget -= net->burst.count;
		more = asks ? has_more(pair) : is_served(pair) && net->burst.count == most;
		/* A guest that takes back what it has shown does not keep us here. */
		if (!net->burst.count)
			break;
	}
	virtio_queue_interrupt(&net->dev, vq);
	net_woken(net, PACE_OUT, NET_BUDGET - budget, vq->stats.bytes_out - bytes_before);
	if (more)
		virtio_queue_again(&net->dev, net_tx_queue(pair));
}

void net_tx(struct net_pair *pair)
{
	transmit(pair, true);
}

void net_tx_notified(struct net_pair *pair)
{
	struct loop *loop = &pair->net->thread->loop;

	loop_poll_worked(loop);
	transmit(pair, !loop_poll_runs(loop));
}

bool net_tx_look(struct net_pair *pair)
{
	struct net *net = pair->net;
	struct virtqueue *vq = &net->dev.queues[net_tx_queue(pair)];

	if (!is_served(pair))
		return false;
	virtqueue_poll(vq);
	burst_take(pair, burst_most(net));
	if (!net->burst.count)
		return false;
	burst_end(pair, burst_send(pair));
	virtio_queue_interrupt(&net->dev, vq);
	return true;
}

bool net_tx_rest(struct net_pair *pair)
{
	bool more = has_more(pair);

	if (more)
		virtio_queue_again(&pair->net->dev, net_tx_queue(pair));
	return more;
}
