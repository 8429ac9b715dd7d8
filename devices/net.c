#include "devices/net.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "devices/net_internal.h"
#include "devices/virtio_state.h"

static struct net *to_net(struct virtio_device *dev)
{
	return container_of(dev, struct net, dev);
}

void net_mac(unsigned int index, uint8_t mac[6])
{
	const uint8_t bytes[6] = {0x02, 'b', 'k', 0, 0, (uint8_t)index};

	memcpy(mac, bytes, sizeof(bytes));
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

/* --- looking for packets from the guest --- */

static bool net_look(struct loop_poll *poll)
{
	struct net *net = container_of(poll, struct net, poll);
	bool some = false;

	/* Slots for NICs to come are many. */
	if (atomic_load(&net->dev.absent))
		return false;
	pthread_mutex_lock(&net->dev.lock);
	for (unsigned int i = 0; i < net->pair_count; i++)
		some |= net_tx_look(&net->pairs[i]);
	if (net->dev.broken)
		net_vhost_stop(net, false);
	pthread_mutex_unlock(&net->dev.lock);
	return some;
}

static bool net_rest(struct loop_poll *poll)
{
	struct net *net = container_of(poll, struct net, poll);
	bool some = false;

	pthread_mutex_lock(&net->dev.lock);
	for (unsigned int i = 0; i < net->pair_count; i++)
		some |= net_tx_rest(&net->pairs[i]);
	pthread_mutex_unlock(&net->dev.lock);
	return some;
}

/* --- on a single CPU --- */

void net_woken(struct net *net, enum pace_way way, unsigned int count, uint64_t bytes)
{
	struct pace *pace = &net->pace;
	bool before = pace->gives_way;
	uint64_t now;

	if (!net->thread->may_give_way || !count)
		return;
	now = monotonic_ns();
	pace_woken(pace, now, way, count, bytes);
	if (pace->gives_way)
		io_thread_gives_way(net->thread, pace->last_ns + PACE_PAUSE_NS);
	else if (before)
		io_thread_gives_way(net->thread, 0);
	else
		io_thread_woken(net->thread);
}

/* --- the device --- */

static void net_kicked(struct virtio_device *dev, unsigned int queue)
{
	struct net *net = to_net(dev);

	if (net->stale || (net->vhost && net_vhost_is_due(net)))
		net_settle(net);
	if (queue == 2 * net->pair_count) {
		net_control(net);
	} else if (queue & 1) {
		net_tx_notified(&net->pairs[queue / 2]);
	} else if (net->pairs[queue / 2].fd >= 0) {
		net_rx(&net->pairs[queue / 2]);
	}
	/* A command may have broken the device. */
	if (dev->broken)
		net_vhost_stop(net, false);
}

static void net_activate(struct virtio_device *dev)
{
	struct net *net = to_net(dev);

	net->stale = true;
	net->vhost_failed = false;
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
	net->poll = (struct loop_poll){.look = net_look, .rest = net_rest};
	io_thread_looks(net->thread, &net->poll);
	/* What comes from the back end has its turn soon, too. */
	net->thread->loop.shared = true;
	net->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (net->wake_fd < 0)
		return error_set(err, errno, "%s: eventfd", net->dev.name);
	net->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	net->error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (net->call_fd < 0 || net->error_fd < 0)
		return error_set(err, errno, "%s: eventfd", net->dev.name);
	ret = net_back_end_watch(net);
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
	net_back_end_close(net);
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
	loop_poll_del(&net->thread->loop, &net->poll);
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
