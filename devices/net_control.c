#include <string.h>

#include "devices/iov.h"
#include "devices/net_internal.h"

#define COMMANDS_A_CALL 8

/* The command's own bytes behind class and code (5.1.6.5). Returns whether there are so many. */
static bool parameters(const struct virtqueue_chain *chain, void *out, size_t len)
{
	return iov_read(chain->iov, chain->readable, sizeof(struct virtio_net_ctrl_hdr), out,
			len) == len;
}

/*
 * What arrives is what the namespace's interface is sent, which is for the guest to look at: the
 * filters of receive mode and address table are agreed to, and filter nothing (5.1.6.5.1: best
 * effort).
 */
static bool set_mac(struct net *net, const struct virtqueue_chain *chain)
{
	uint8_t mac[6];

	if (!parameters(chain, mac, sizeof(mac)) || mac[0] & 1)
		return false;
	memcpy(net->config.mac, mac, sizeof(mac));
	return true;
}

static bool set_pairs(struct net *net, const struct virtqueue_chain *chain)
{
	uint16_t pairs;

	if (!net_offers(net, VIRTIO_NET_F_MQ) || !parameters(chain, &pairs, sizeof(pairs)) ||
	    pairs < 1 || pairs > net->pair_count)
		return false;
	net->used_pairs = pairs;
	net->stale = true;
	net_wake(net);
	return true;
}

static bool announced(struct net *net)
{
	net->config.status &= (uint16_t)~VIRTIO_NET_S_ANNOUNCE;
	return true;
}

static bool command(struct net *net, const struct virtqueue_chain *chain)
{
	struct virtio_net_ctrl_hdr header;

	if (iov_read(chain->iov, chain->readable, 0, &header, sizeof(header)) != sizeof(header))
		return false;
	switch (header.class << 8 | header.cmd) {
	case VIRTIO_NET_CTRL_RX << 8 | VIRTIO_NET_CTRL_RX_PROMISC:
	case VIRTIO_NET_CTRL_RX << 8 | VIRTIO_NET_CTRL_RX_ALLMULTI:
	case VIRTIO_NET_CTRL_MAC << 8 | VIRTIO_NET_CTRL_MAC_TABLE_SET:
		return true;
	case VIRTIO_NET_CTRL_MAC << 8 | VIRTIO_NET_CTRL_MAC_ADDR_SET:
		return set_mac(net, chain);
	case VIRTIO_NET_CTRL_ANNOUNCE << 8 | VIRTIO_NET_CTRL_ANNOUNCE_ACK:
		return announced(net);
	case VIRTIO_NET_CTRL_MQ << 8 | VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET:
		return set_pairs(net, chain);
	default:
		return false;
	}
}

void net_control(struct net *net)
{
	unsigned int queue = 2 * net->pair_count;
	struct virtqueue *vq = &net->dev.queues[queue];
	struct virtqueue_chain *chain = &net->pairs[0].chain;
	unsigned int budget = COMMANDS_A_CALL;

	while (budget && virtio_queue_pop(&net->dev, queue, chain)) {
		virtio_net_ctrl_ack ack;

		if (!chain->writable_len) {
			virtio_device_broken(&net->dev, "command without room for an answer");
			return;
		}
		ack = command(net, chain) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
		iov_write(virtqueue_chain_writable(chain), chain->writable, 0, &ack, sizeof(ack));
		virtqueue_put(vq, chain->head, sizeof(ack));
		budget--;
	}
	virtio_queue_interrupt(&net->dev, vq);
	if (!budget)
		virtio_queue_again(&net->dev, queue);
}
