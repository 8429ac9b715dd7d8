#include "devices/net.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "devices/net_internal.h"
#include "devices/virtio_state.h"

/* Names from newer headers than Debian 12's (virtio 1.3, 5.1.3; Linux 6.2). */
#define NET_F_GUEST_USO4 54
#define NET_F_GUEST_USO6 55
#define NET_F_HOST_USO	 56
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static struct net *to_net(struct virtio_device *dev)
{
	return container_of(dev, struct net, dev);
}

void net_mac(unsigned int index, uint8_t mac[6])
{
	const uint8_t bytes[6] = {0x02, 'b', 'k', 0, 0, (uint8_t)index};

	memcpy(mac, bytes, sizeof(bytes));
}

/* --- the back end; in the I/O thread, or when there is none --- */

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

static void back_end_close(struct net *net)
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
	back_end_close(net);
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

/* Has the back end follow what the driver negotiated. */
static void settle(struct net *net)
{
	unsigned int offloads = tap_offloads(net);

	net->stale = false;
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
	back_end_close(net);
	net->next = false;
	for (unsigned int i = 0; i < net->next_count; i++)
		net->pairs[i].fd = take_fd(&net->next_fds[i]);
	net->fd_count = net->next_count;
	net->vhost = take_ptr(net->next_vhost);
	if (net->fd_count) {
		int kind = 0;
		socklen_t len = sizeof(kind);

		net->tap = getsockopt(net->pairs[0].fd, SOL_SOCKET, SO_TYPE, &kind, &len) < 0;
		if (!net->tap && kind == SOCK_STREAM)
			net->stream = net_stream_create();
		if (kind == SOCK_STREAM && !net->stream)
			back_end_close(net);
	}
	settle(net);
	set_link(net, net->fd_count > 0);
}

static void woken(struct loop_watch *watch, uint32_t events)
{
	struct net *net = container_of(watch, struct net, wake_watch);
	uint64_t count;

	(void)events;
	if (read(net->wake_fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&net->dev.lock);
	if (net->next)
		back_end_install(net);
	else if (net->stale)
		settle(net);
	pthread_mutex_unlock(&net->dev.lock);
}

void net_wake(struct net *net)
{
	uint64_t one = 1;

	/* A full eventfd wakes as well. */
	if (write(net->wake_fd, &one, sizeof(one)) < 0)
		return;
}

static void rx_goes_on(struct rate_gate *gate)
{
	struct net *net = container_of(gate, struct net, rx_gate);

	pthread_mutex_lock(&net->dev.lock);
	for (unsigned int i = 0; i < net->pair_count; i++)
		if (net->pairs[i].rx_limited)
			net_rx(&net->pairs[i]);
	pthread_mutex_unlock(&net->dev.lock);
}

static void tx_goes_on(struct rate_gate *gate)
{
	struct net *net = container_of(gate, struct net, tx_gate);

	pthread_mutex_lock(&net->dev.lock);
	for (unsigned int i = 0; i < net->pair_count; i++)
		net_tx(&net->pairs[i]);
	pthread_mutex_unlock(&net->dev.lock);
}

int net_limit(struct net *net, const struct rate rx[2], const struct rate tx[2], struct error *err)
{
	int ret;

	pthread_mutex_lock(&net->dev.lock);
	ret = rate_gate_set(&net->rx_gate, rx[0], rx[1]);
	if (ret == 0)
		ret = rate_gate_set(&net->tx_gate, tx[0], tx[1]);
	/* vhost-net knows no rates. */
	net->stale = true;
	net_wake(net);
	pthread_mutex_unlock(&net->dev.lock);
	return ret < 0 ? error_set(err, -ret, "%s: timer", net->dev.name) : 0;
}

/* --- the device --- */

static void net_kicked(struct virtio_device *dev, unsigned int queue)
{
	struct net *net = to_net(dev);

	if (net->stale || (net->vhost && net_vhost_is_due(net)))
		settle(net);
	if (queue == 2 * net->pair_count)
		net_control(net);
	else if (queue & 1)
		net_tx(&net->pairs[queue / 2]);
	else if (net->pairs[queue / 2].fd >= 0)
		net_rx(&net->pairs[queue / 2]);
	/* A command may have broken the device. */
	if (dev->broken)
		net_vhost_stop(net, false);
}

static void net_activate(struct virtio_device *dev)
{
	struct net *net = to_net(dev);

	net->stale = true;
	net_wake(net);
}

/*
 * Has the I/O thread take the queues back that vhost-net must not serve now. The lock is let go
 * meanwhile; returns whether vhost-net serves some all the same.
 */
static bool vhost_stays(struct net *net)
{
	if (!net_vhost_runs(net))
		return false;
	net->stale = true;
	net_wake(net);
	pthread_cond_wait(&net->vhost_stopped, &net->dev.lock);
	return net_vhost_runs(net);
}

static void net_hold(struct virtio_device *dev)
{
	while (vhost_stays(to_net(dev)))
		;
}

static void net_reset(struct virtio_device *dev)
{
	struct net *net = to_net(dev);

	net_hold(dev);
	for (unsigned int i = 0; i < net->pair_count; i++) {
		net_rx_reset(&net->pairs[i]);
		net->pairs[i].tx_blocked = false;
	}
	net->config.status &= (uint16_t)~VIRTIO_NET_S_ANNOUNCE;
	/* The address that a driver has set was that driver's. */
	net_mac(net->index, net->config.mac);
	net->used_pairs = 1;
	net->stale = true;
	net_wake(net);
}

static void net_config_read(struct virtio_device *dev, uint32_t offset, void *buf, size_t len)
{
	struct net *net = to_net(dev);

	virtio_config_copy(&net->config, sizeof(net->config), offset, buf, len);
}

static int net_start(struct virtio_device *dev)
{
	struct net *net = to_net(dev);

	return net->thread == &net->own_thread ? io_thread_start(net->thread) : 0;
}

static void net_stop(struct virtio_device *dev)
{
	struct net *net = to_net(dev);

	pthread_mutex_lock(&dev->lock);
	dev->active = false;
	pthread_mutex_unlock(&dev->lock);
	io_thread_stop(&net->own_thread);
}

/* Plain data: what the driver has told the device. */
struct saved_net {
	uint8_t mac[6];
	uint16_t used_pairs;
};

static int net_save(struct virtio_device *dev, struct records *out, uint32_t number,
		    struct error *err)
{
	const struct net *net = to_net(dev);
	struct saved_net saved = {.used_pairs = (uint16_t)net->used_pairs};

	if (net->fd_count || net->next)
		return error_say(err, ENOTSUP, "%s: a link cannot be carried", dev->name);
	memcpy(saved.mac, net->config.mac, sizeof(saved.mac));
	records_put(out, VIRTIO_STATE_NET, number, &saved, sizeof(saved));
	return 0;
}

static int net_load(struct virtio_device *dev, const struct records *in, uint32_t number,
		    struct error *err)
{
	struct net *net = to_net(dev);
	struct saved_net saved;
	int ret = records_get(in, VIRTIO_STATE_NET, number, &saved, sizeof(saved));

	if (ret == 0 && (saved.used_pairs < 1 || saved.used_pairs > net->pair_count))
		ret = -EPROTO;
	if (ret < 0)
		return error_say(err, EPROTO, "%s: the saved state does not fit", dev->name);
	memcpy(net->config.mac, saved.mac, sizeof(saved.mac));
	net->used_pairs = saved.used_pairs;
	return 0;
}

static const struct virtio_device_ops net_ops = {
	.config_read = net_config_read,
	.start = net_start,
	.activate = net_activate,
	.reset = net_reset,
	.hold = net_hold,
	.queue_kicked = net_kicked,
	.stop = net_stop,
	.save = net_save,
	.load = net_load,
};

/* 5.1.3. A link's MTU is told to the agent with its addresses: the driver reads it but once. */
static uint64_t net_features(const struct net_options *options)
{
	uint64_t features = 1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_STATUS |
			    1ull << VIRTIO_NET_F_MRG_RXBUF | 1ull << VIRTIO_NET_F_CTRL_VQ |
			    1ull << VIRTIO_NET_F_CTRL_RX | 1ull << VIRTIO_NET_F_CTRL_MAC_ADDR |
			    1ull << VIRTIO_NET_F_GUEST_ANNOUNCE | VIRTIO_FEATURES_IN_ORDER;

	if (options->pairs > 1)
		features |= 1ull << VIRTIO_NET_F_MQ;
	if (options->plain)
		return features;
	features |= 1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_GUEST_CSUM |
		    1ull << VIRTIO_NET_F_HOST_TSO4 | 1ull << VIRTIO_NET_F_HOST_TSO6 |
		    1ull << VIRTIO_NET_F_HOST_ECN | 1ull << VIRTIO_NET_F_GUEST_TSO4 |
		    1ull << VIRTIO_NET_F_GUEST_TSO6 | 1ull << VIRTIO_NET_F_GUEST_ECN;
	if (options->udp_segmentation)
		features |= 1ull << NET_F_HOST_USO | 1ull << NET_F_GUEST_USO4 |
			    1ull << NET_F_GUEST_USO6;
	return features;
}

static int prepare(struct net *net, const struct net_options *options, struct error *err)
{
	int ret = 0;

	if (!options->thread)
		ret = io_thread_init(&net->own_thread, options->name, options->thread_begins);
	if (ret < 0)
		return error_set(err, -ret, "%s: event loop", net->dev.name);
	io_thread_needs_writes(net->thread);
	net->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (net->wake_fd < 0)
		return error_set(err, errno, "%s: eventfd", net->dev.name);
	net->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	net->error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (net->call_fd < 0 || net->error_fd < 0)
		return error_set(err, errno, "%s: eventfd", net->dev.name);
	ret = loop_add(&net->thread->loop, &net->wake_watch, net->wake_fd, EPOLLIN, woken);
	if (ret == 0)
		ret = net_vhost_watch(net);
	if (ret < 0)
		return error_set(err, -ret, "%s: epoll", net->dev.name);
	for (unsigned int i = 0; i < net->pair_count; i++) {
		net->pairs[i].spill = malloc(NET_PACKET_MAX);
		if (!net->pairs[i].spill)
			return error_set(err, ENOMEM, "%s", net->dev.name);
	}
	return 0;
}

int net_create(struct net **out, const struct net_options *options, const struct guest_memory *mem,
	       struct error *err)
{
	struct net *net;
	int ret;

	if (!options->pairs || options->pairs > NET_PAIRS_MAX)
		return error_say(err, EINVAL, "%s: 1 to %u pairs of queues", options->name,
				 NET_PAIRS_MAX);
	net = calloc(1, sizeof(*net));
	if (!net)
		return error_set(err, ENOMEM, "%s", options->name);
	net->dev.ops = &net_ops;
	net->dev.name = options->name;
	net->dev.id = VIRTIO_ID_NET;
	net->dev.absent = true;
	net->pair_count = options->pairs;
	net->used_pairs = 1;
	net->wake_fd = net->call_fd = net->error_fd = -1;
	pthread_cond_init(&net->vhost_stopped, NULL);
	net->thread = options->thread ? options->thread : &net->own_thread;
	for (unsigned int i = 0; i < NET_PAIRS_MAX; i++) {
		net->pairs[i].net = net;
		net->pairs[i].index = i;
		net->pairs[i].fd = -1;
		net->next_fds[i] = -1;
	}
	rate_gate_init(&net->rx_gate, &net->thread->loop, rx_goes_on);
	rate_gate_init(&net->tx_gate, &net->thread->loop, tx_goes_on);
	net->index = options->index;
	net_mac(options->index, net->config.mac);
	net->config.max_virtqueue_pairs = (uint16_t)options->pairs;
	virtio_device_init(&net->dev, mem, net_features(options), 2 * options->pairs + 1,
			   NET_QUEUE_SIZE);
	net->own_features = net->dev.features;
	ret = prepare(net, options, err);
	if (ret < 0) {
		net_destroy(net);
		return ret;
	}
	*out = net;
	return 0;
}

void net_destroy(struct net *net)
{
	if (!net)
		return;
	net_stop(&net->dev);
	back_end_close(net);
	for (unsigned int i = 0; i < NET_PAIRS_MAX; i++) {
		close_fd(&net->next_fds[i]);
		free(net->pairs[i].spill);
	}
	rate_gate_destroy(&net->rx_gate);
	rate_gate_destroy(&net->tx_gate);
	net_vhost_destroy(net->next_vhost);
	loop_del(&net->thread->loop, &net->wake_watch);
	loop_del(&net->thread->loop, &net->call_watch);
	loop_del(&net->thread->loop, &net->error_watch);
	close_fd(&net->wake_fd);
	close_fd(&net->call_fd);
	close_fd(&net->error_fd);
	pthread_cond_destroy(&net->vhost_stopped);
	io_thread_destroy(&net->own_thread);
	virtio_device_destroy(&net->dev);
	free(net);
}

struct virtio_device *net_device(struct net *net)
{
	return &net->dev;
}

struct loop *net_loop(struct net *net)
{
	return &net->thread->loop;
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
