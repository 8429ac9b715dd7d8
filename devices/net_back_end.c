/*
 * What is behind a NIC: a tap with one queue or more, with vhost-net or without, or a socket. It
 * comes by net_attach, from any thread, and is installed, watched and taken away by the I/O thread.
 */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/event.h"
#include "common/log.h"
#include "devices/net_internal.h"

/* A name from newer headers than Debian 12's (Linux 6.2). */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static void pair_ready(struct loop_watch *watch, uint32_t events)
{
	struct net_pair *pair = container_of(watch, struct net_pair, watch);
	struct net *net = pair->net;
	int ret = 0;

	pthread_mutex_lock(&net->dev.lock);
	if (pair->fd < 0)
		goto out;
	/* A tap that was taken away says so by an error at reading, whoever waits for what. */
	if (events & (EPOLLERR | EPOLLHUP) &&
	    (!net->dev.active || pair->rx_starved || pair->rx_limited || pair->vhost)) {
		net_link_lost(net, "it was taken away");
		goto out;
	}
	if (events & EPOLLOUT && net->stream)
		ret = net_stream_flush(pair);
	if (ret < 0 && ret != -EAGAIN) {
		net_link_lost(net, strerror(-ret));
		goto out;
	}
	if (events & EPOLLOUT && ret == 0)
		for (unsigned int i = pair->index; i < net->pair_count; i += net->fd_count) {
			net->pairs[i].tx_blocked = false;
			net_tx(&net->pairs[i]);
		}
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		net_rx(pair);
	else
		net_pair_watch(pair);
out:
	pthread_mutex_unlock(&net->dev.lock);
}

void net_pair_watch(struct net_pair *pair)
{
	struct net *net = pair->net;
	uint32_t events = 0;

	if (!pair->watch.active)
		return;
	if (net->dev.active && !net->dev.broken && !pair->rx_starved && !pair->rx_limited &&
	    !pair->vhost)
		events |= EPOLLIN;
	if (net->stream && net_stream_is_pending(net->stream))
		events |= EPOLLOUT;
	for (unsigned int i = pair->index; i < net->pair_count; i += net->fd_count)
		if (net->pairs[i].tx_blocked)
			events |= EPOLLOUT;
	loop_mod(&net->thread->loop, &pair->watch, events);
}

void net_back_end_close(struct net *net)
{
	/* At the end the transport is gone, and closing it does. */
	if (net->vhost && net->dev.transport)
		net_vhost_stop(net, true);
	net_vhost_destroy(take_ptr(net->vhost));
	for (unsigned int i = 0; i < net->pair_count; i++) {
		struct net_pair *pair = &net->pairs[i];

		loop_del(&net->thread->loop, &pair->watch);
		close_fd(&pair->fd);
		pair->spill_len = 0;
		/* Nobody would look at what waits in the queue, nor be notified of it. */
		if (pair->tx_blocked && net->dev.transport)
			virtio_queue_again(&net->dev, net_tx_queue(pair));
		pair->tx_blocked = false;
	}
	net_stream_destroy(take_ptr(net->stream));
	net->fd_count = 0;
	net->tap = false;
}

static void set_link(struct net *net, bool up)
{
	uint16_t status = up ? VIRTIO_NET_S_LINK_UP : 0;

	/* A new place on the network: who talked with the guest is to learn where it is. */
	if (up && net->had_link && net_offers(net, VIRTIO_NET_F_GUEST_ANNOUNCE))
		status |= VIRTIO_NET_S_ANNOUNCE;
	net->had_link |= up;
	if (net->config.status == status)
		return;
	net->config.status = status;
	virtio_config_interrupt(&net->dev);
}

void net_link_lost(struct net *net, const char *why)
{
	log_warn("%s: the interface behind it is lost (%s), its link is down", net->dev.name, why);
	net_back_end_close(net);
	set_link(net, false);
}

static unsigned int tap_offloads(const struct net *net)
{
	static const struct {
		unsigned int feature, flag;
	} rows[] = {
		{VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4},	 {VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6},
		{VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN}, {NET_F_GUEST_USO4, TUN_F_USO4},
		{NET_F_GUEST_USO6, TUN_F_USO6},
	};
	unsigned int flags = TUN_F_CSUM;

	if (!net_offers(net, VIRTIO_NET_F_GUEST_CSUM))
		return 0;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (net_offers(net, rows[i].feature))
			flags |= rows[i].flag;
	return flags;
}

/* A queue that the driver does not serve must get nothing, or that would wait in it for ever. */
static void tap_use_queue(const struct net_pair *pair, bool use)
{
	struct ifreq request = {.ifr_flags = use ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

	/* EINVAL: it is so already, or the tap has one queue only. */
	if (ioctl(pair->fd, TUNSETQUEUE, &request) < 0 && errno != EINVAL)
		log_debug("%s: queue %u: %s", pair->net->dev.name, pair->index, strerror(errno));
}

void net_settle(struct net *net)
{
	unsigned int offloads = tap_offloads(net);

	net->stale = false;
	net->pace = (struct pace){0};
	net_vhost_stop(net, false);
	if (net->tap && net->dev.active && ioctl(net->pairs[0].fd, TUNSETOFFLOAD, offloads) < 0) {
		offloads &= ~(unsigned int)(TUN_F_USO4 | TUN_F_USO6);
		if (ioctl(net->pairs[0].fd, TUNSETOFFLOAD, offloads) < 0)
			log_warn("%s: TUNSETOFFLOAD: %s", net->dev.name, strerror(errno));
	}
	for (unsigned int i = 0; i < net->fd_count; i++) {
		struct net_pair *pair = &net->pairs[i];
		bool use = i < net->used_pairs;

		if (!use)
			loop_del(&net->thread->loop, &pair->watch);
		if (net->tap && net->fd_count > 1)
			tap_use_queue(pair, use);
		if (use && !pair->watch.active)
			loop_add(&net->thread->loop, &pair->watch, pair->fd, 0, pair_ready);
		net_pair_watch(pair);
	}
	net_vhost_start(net);
}

static void back_end_install(struct net *net)
{
	net_back_end_close(net);
	net->next = false;
	for (unsigned int i = 0; i < net->next_count; i++)
		net->pairs[i].fd = take_fd(&net->next_fds[i]);
	net->fd_count = net->next_count;
	net->vhost = take_ptr(net->next_vhost);
	net->vhost_failed = false;
	if (net->fd_count) {
		int kind = 0;
		socklen_t len = sizeof(kind);

		net->tap = getsockopt(net->pairs[0].fd, SOL_SOCKET, SO_TYPE, &kind, &len) < 0;
		if (!net->tap && kind == SOCK_STREAM)
			net->stream = net_stream_create();
		if (kind == SOCK_STREAM && !net->stream)
			net_back_end_close(net);
	}
	net_settle(net);
	set_link(net, net->fd_count > 0);
}

static void woken(struct loop_watch *watch, uint32_t events)
{
	struct net *net = container_of(watch, struct net, wake_watch);

	(void)events;
	if (!event_take(net->wake_fd))
		return;
	pthread_mutex_lock(&net->dev.lock);
	if (net->next)
		back_end_install(net);
	else if (net->stale)
		net_settle(net);
	pthread_mutex_unlock(&net->dev.lock);
}

int net_back_end_watch(struct net *net)
{
	return loop_add(&net->thread->loop, &net->wake_watch, net->wake_fd, EPOLLIN, woken);
}

void net_wake(struct net *net)
{
	event_signal(net->wake_fd);
}

static int check_fd(const struct net *net, int fd, struct error *err)
{
	int flags = fcntl(fd, F_GETFL), size = NET_HEADER_LEN, kind = 0;
	struct ifreq request = {0};
	socklen_t len = sizeof(kind);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return error_set(err, errno, "%s", net->dev.name);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &len) == 0) {
		if (kind == SOCK_STREAM && net->dev.features & 1ull << VIRTIO_NET_F_CSUM)
			return error_say(err, EINVAL, "%s: not made for a stream of frames",
					 net->dev.name);
		return 0;
	}
	if (ioctl(fd, TUNGETIFF, &request) < 0)
		return error_say(err, EINVAL, "%s: what comes is neither a tap nor a socket",
				 net->dev.name);
	if ((request.ifr_flags & (IFF_TAP | IFF_VNET_HDR)) != (IFF_TAP | IFF_VNET_HDR))
		return error_say(err, EINVAL, "%s: %.16s is not a tap with headers (IFF_VNET_HDR)",
				 net->dev.name, request.ifr_name);
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
		return error_set(err, errno, "%s: TUNSETVNETHDRSZ", net->dev.name);
	return 0;
}

int net_memory_grown(struct net *net, struct error *err)
{
	int ret = 0;

	pthread_mutex_lock(&net->dev.lock);
	if (net->vhost)
		ret = net_vhost_set_memory(net->vhost, err);
	if (ret == 0 && net->next_vhost)
		ret = net_vhost_set_memory(net->next_vhost, err);
	pthread_mutex_unlock(&net->dev.lock);
	return ret;
}

int net_attach(struct net *net, const int *fds, unsigned int fd_count, struct error *err)
{
	struct net_vhost *vhost = NULL;
	int ret = 0;

	/* Behind a tap's queues come as many of vhost-net, or none. */
	bool has_vhost = fd_count > 1 && fd_count % 2 == 0 && net_vhost_is_one(fds[fd_count - 1]);

	if (has_vhost)
		fd_count /= 2;
	for (unsigned int i = 0; i < fd_count && ret == 0; i++)
		ret = check_fd(net, fds[i], err);
	if (ret < 0)
		return ret;
	if (fd_count > net->pair_count)
		return error_say(err, EINVAL, "%s: %u queues, it has %u", net->dev.name, fd_count,
				 net->pair_count);
	if (has_vhost)
		ret = net_vhost_create(net, fds + fd_count, fd_count, &vhost, err);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&net->dev.lock);
	/* For the next driver: the one that is there knows what it has negotiated. */
	net->dev.features = vhost ? net_vhost_offers(vhost, net->own_features) : net->own_features;
	net_vhost_destroy(net->next_vhost);
	net->next_vhost = vhost;
	for (unsigned int i = 0; i < NET_PAIRS_MAX; i++) {
		close_fd(&net->next_fds[i]);
		if (i < fd_count)
			net->next_fds[i] = fds[i];
	}
	net->next_count = fd_count;
	net->next = true;
	atomic_store(&net->dev.absent, !fd_count);
	pthread_mutex_unlock(&net->dev.lock);
	net_wake(net);
	return 0;
}
