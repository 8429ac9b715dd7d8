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
static int send_packet(struct net_pair *pair)
{
	const struct virtqueue_chain *chain = &pair->chain;
	struct net_pair *out = outlet(pair);
	ssize_t len;

	if (chain->readable_len < NET_HEADER_LEN + NET_FRAME_MIN ||
	    chain->readable_len > NET_PACKET_MAX)
		return -EINVAL;
	if (pair->net->stream) {
		struct iovec frame[VIRTQUEUE_SEGMENTS_MAX];
		size_t frame_len = chain->readable_len - NET_HEADER_LEN;
		unsigned int count = iov_slice(frame, chain->iov, chain->readable, NET_HEADER_LEN,
					       frame_len);

		return net_stream_write(out, frame, count, frame_len);
	}
	do
		len = writev(out->fd, chain->iov, (int)chain->readable);
	while (len < 0 && errno == EINTR);
	return len < 0 ? -errno : 0;
}

void net_tx(struct net_pair *pair)
{
	struct net *net = pair->net;
	struct virtqueue *vq = &net->dev.queues[net_tx_queue(pair)];
	unsigned int budget = NET_BUDGET;

	if (pair->tx_blocked || pair->vhost)
		return;
	while (budget && !rate_gate_is_closed(&net->tx_gate) &&
	       virtio_queue_pop(&net->dev, net_tx_queue(pair), &pair->chain)) {
		/* Without a link packets go nowhere, as on a wire. So do those a tap refuses. */
		if (net->fd_count && send_packet(pair) == -EAGAIN) {
			virtqueue_unpop(vq, &pair->chain);
			pair->tx_blocked = true;
			net_pair_watch(outlet(pair));
			break;
		}
		rate_gate_count(&net->tx_gate, pair->chain.readable_len);
		virtqueue_put(vq, pair->chain.head, 0);
		budget--;
	}
	virtio_queue_interrupt(&net->dev, vq);
	if (!budget)
		virtio_queue_again(&net->dev, net_tx_queue(pair));
}
