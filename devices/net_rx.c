#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "devices/iov.h"
#include "devices/net_internal.h"

void net_rx_reset(struct net_pair *pair)
{
	pair->first_buffer = pair->buffer_count = 0;
	pair->first_segment = pair->segment_count = 0;
	pair->room = 0;
	pair->spill_len = 0;
	pair->rx_starved = pair->rx_limited = false;
}

static const struct net_buffer *buffers_of(const struct net_pair *pair)
{
	return pair->buffers + pair->first_buffer;
}

static struct iovec *segments_of(struct net_pair *pair)
{
	return pair->segments + pair->first_segment;
}

/* Has a place for one buffer more, of any number of segments, behind those that are there. */
static void make_place(struct net_pair *pair)
{
	if (pair->first_buffer + pair->buffer_count < NET_QUEUE_SIZE &&
	    pair->first_segment + pair->segment_count <= NET_RX_SEGMENTS - VIRTQUEUE_SEGMENTS_MAX)
		return;
	memmove(pair->buffers, buffers_of(pair), pair->buffer_count * sizeof(*pair->buffers));
	memmove(pair->segments, segments_of(pair), pair->segment_count * sizeof(*pair->segments));
	pair->first_buffer = pair->first_segment = 0;
}

/* Takes buffers ahead until the largest packet fits. */
static void take_buffers(struct net_pair *pair)
{
	struct virtio_device *dev = &pair->net->dev;
	struct virtqueue_chain *chain = &pair->chain;

	while (pair->room < NET_PACKET_MAX && pair->buffer_count < NET_QUEUE_SIZE &&
	       pair->segment_count <= NET_RX_SEGMENTS - VIRTQUEUE_SEGMENTS_MAX &&
	       virtio_queue_pop(dev, net_rx_queue(pair), chain)) {
		/* The header is written in place; 5.1.6.3.1 asks for far more than that. */
		if (chain->writable_len < NET_HEADER_LEN) {
			virtio_device_broken(dev, "receive buffer without room for a header");
			return;
		}
		make_place(pair);
		pair->buffers[pair->first_buffer + pair->buffer_count++] = (struct net_buffer){
			.head = chain->head,
			.segments = (uint16_t)chain->writable,
			.len = (uint32_t)chain->writable_len,
		};
		memcpy(segments_of(pair) + pair->segment_count, virtqueue_chain_writable(chain),
		       chain->writable * sizeof(struct iovec));
		pair->segment_count += chain->writable;
		pair->room += chain->writable_len;
	}
}

/* How much fits into what one packet may use: without MRG_RXBUF that is one buffer (5.1.6.4). */
static size_t packet_room(const struct net_pair *pair, unsigned int *segments)
{
	if (net_offers(pair->net, VIRTIO_NET_F_MRG_RXBUF)) {
		*segments = pair->segment_count;
		return pair->room;
	}
	*segments = pair->buffer_count ? buffers_of(pair)->segments : 0;
	return pair->buffer_count ? buffers_of(pair)->len : 0;
}

/*
 * Returns the buffers that hold a packet of len bytes to the driver, which sees them with the rest
 * of the batch: all of a packet at once (5.1.6.4).
 */
static void give_buffers(struct net_pair *pair, size_t len)
{
	struct virtqueue *vq = &pair->net->dev.queues[net_rx_queue(pair)];
	const struct net_buffer *buffers = buffers_of(pair);
	unsigned int count = 0, segments = 0;
	size_t left = len;
	uint16_t number;

	rate_gate_count(&pair->net->rx_gate, len - NET_HEADER_LEN);
	do {
		segments += buffers[count].segments;
		left -= left < buffers[count].len ? left : buffers[count].len;
		count++;
	} while (left);
	number = (uint16_t)count;
	iov_write(segments_of(pair), segments,
		  offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers), &number, sizeof(number));
	for (unsigned int i = 0; i < count; i++) {
		uint32_t part = len < buffers[i].len ? (uint32_t)len : buffers[i].len;

		virtqueue_put(vq, buffers[i].head, part);
		pair->room -= buffers[i].len;
		len -= part;
	}
	pair->first_buffer += count;
	pair->buffer_count -= count;
	pair->first_segment += segments;
	pair->segment_count -= segments;
}

bool net_rx_deliver(struct net_pair *pair)
{
	bool whole = net_offers(pair->net, VIRTIO_NET_F_MRG_RXBUF);
	unsigned int segments;
	size_t room, len;

	take_buffers(pair);
	room = packet_room(pair, &segments);
	if (!room || (whole && room < pair->spill_len))
		return false;
	/* A single buffer that is too small is the driver's own fault: it gets what fits. */
	len = pair->spill_len < room ? pair->spill_len : room;
	iov_write(segments_of(pair), segments, 0, pair->spill, len);
	pair->spill_len = 0;
	give_buffers(pair, len);
	return true;
}

/* Reads a packet. Returns 1, 0 when there is none or no room, or a negative errno. */
static int rx_one(struct net_pair *pair)
{
	unsigned int segments;
	ssize_t len;
	int ret;

	if (pair->spill_len) {
		pair->rx_starved = !net_rx_deliver(pair);
		return !pair->rx_starved;
	}
	if (pair->net->stream) {
		ret = net_stream_read(pair);
		return ret > 0 && !net_rx_deliver(pair) ? (pair->rx_starved = true, 0) : ret;
	}
	take_buffers(pair);
	if (!pair->net->dev.active || pair->net->dev.broken)
		return 0;
	if (packet_room(pair, &segments) < NET_PACKET_MAX &&
	    (net_offers(pair->net, VIRTIO_NET_F_MRG_RXBUF) || !segments)) {
		/* What does not fit would be cut off: look at it first. */
		len = read(pair->fd, pair->spill, NET_PACKET_MAX);
		if (len >= (ssize_t)NET_HEADER_LEN) {
			pair->spill_len = (size_t)len;
			pair->rx_starved = !net_rx_deliver(pair);
			return !pair->rx_starved;
		}
	} else {
		len = preadv2(pair->fd, segments_of(pair), (int)segments, -1, 0);
		if (len >= (ssize_t)NET_HEADER_LEN) {
			give_buffers(pair, (size_t)len);
			return 1;
		}
	}
	if (len < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return len ? 1 : -ECONNRESET;
}

void net_rx(struct net_pair *pair)
{
	struct net *net = pair->net;
	struct virtqueue *vq = &net->dev.queues[net_rx_queue(pair)];
	uint64_t bytes_before = vq->stats.bytes_in;
	unsigned int count = 0;
	int ret = 1;

	if (pair->vhost)
		return;
	pair->rx_starved = pair->rx_limited = false;
	while (count < NET_BUDGET && ret > 0) {
		pair->rx_limited = rate_gate_is_closed(&net->rx_gate);
		if (pair->rx_limited)
			break;
		ret = net->dev.active && !net->dev.broken && pair->fd >= 0 ? rx_one(pair) : 0;
		count += ret > 0;
	}
	virtio_queue_interrupt(&net->dev, vq);
	net_woken(net, PACE_IN, count, vq->stats.bytes_in - bytes_before);
	if (ret < 0)
		net_link_lost(net, strerror(-ret));
	else
		net_pair_watch(pair);
	/* The budget is used up and more may be there, of which a stream's loop does not know. */
	if (ret > 0 && net->stream && !pair->rx_limited)
		virtio_queue_again(&net->dev, net_rx_queue(pair));
}
