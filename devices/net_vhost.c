/*
 * The host's kernel (vhost-net) serves a pair of queues: it is told where the rings are, and frames
 * go between them and the tap without this process, but for the interrupt. Whatever it cannot do
 * is done here as ever: so it comes in and goes out while the driver notices nothing.
 */
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/event.h"
#include "common/log.h"
#include "devices/net_internal.h"

/* What whoever serves a ring has to know of it. */
#define RING_FEATURES                                                                            \
	(1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX |                 \
	 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_F_IN_ORDER | \
	 1ull << VIRTIO_NET_F_MRG_RXBUF)
/* What there is no doing without. */
#define NEEDED_FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_NET_F_MRG_RXBUF)

/* How often it is looked whether the taps are still there. */
#define LOOK_SECONDS 1

struct net_vhost {
	struct net *net;
	int fds[NET_PAIRS_MAX]; /* of /dev/vhost-net, one a pair */
	unsigned int count;
	uint64_t features;
	int timer_fd;
	struct loop_watch timer_watch;
};

bool net_vhost_is_one(int fd)
{
	uint64_t features;

	return ioctl(fd, VHOST_GET_FEATURES, &features) == 0;
}

/* The guest's memory stays where it is. Rings are given by where they are mapped here. */
static int set_memory(int fd, const struct guest_memory *mem)
{
	cleanup_free struct vhost_memory *table =
		calloc(1, sizeof(*table) + mem->count * sizeof(table->regions[0]));

	if (!table)
		return -1;
	for (unsigned int i = 0; i < mem->count; i++) {
		uint64_t len = guest_region_len(&mem->regions[i]);

		/* At some there is nothing yet. */
		if (len)
			table->regions[table->nregions++] = (struct vhost_memory_region){
				.guest_phys_addr = mem->regions[i].gpa,
				.memory_size = len,
				.userspace_addr = (uintptr_t)mem->regions[i].bytes,
			};
	}
	return ioctl(fd, VHOST_SET_MEM_TABLE, table);
}

int net_vhost_set_memory(struct net_vhost *vhost, struct error *err)
{
	const struct virtio_device *dev = &vhost->net->dev;

	for (unsigned int i = 0; i < vhost->count; i++)
		if (set_memory(vhost->fds[i], dev->mem) < 0)
			return error_set(err, errno, "%s: vhost-net: memory", dev->name);
	return 0;
}

int net_vhost_create(struct net *net, const int *fds, unsigned int count, struct net_vhost **out,
		     struct error *err)
{
	const struct virtio_device *dev = &net->dev;
	cleanup_free struct net_vhost *vhost = calloc(1, sizeof(*vhost));
	int ret;

	if (!vhost)
		return error_set(err, ENOMEM, "%s: vhost-net", dev->name);
	*vhost = (struct net_vhost){.net = net, .count = count};
	if (ioctl(fds[0], VHOST_GET_FEATURES, &vhost->features) < 0)
		return error_set(err, errno, "%s: vhost-net: features", dev->name);
	/* Where it has come to in a packed ring we could not ask for. */
	vhost->features &= ~(1ull << VIRTIO_F_RING_PACKED);
	if (~vhost->features & NEEDED_FEATURES)
		return error_say(err, ENOTSUP, "%s: this host's vhost-net is too old", dev->name);
	for (unsigned int i = 0; i < count; i++) {
		if (ioctl(fds[i], VHOST_SET_OWNER) < 0)
			return error_set(err, errno, "%s: vhost-net: owner", dev->name);
		vhost->fds[i] = fds[i];
	}
	ret = net_vhost_set_memory(vhost, err);
	if (ret < 0)
		return ret;
	vhost->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (vhost->timer_fd < 0)
		return error_set(err, errno, "%s: timer", dev->name);
	*out = take_ptr(vhost);
	return 0;
}

void net_vhost_destroy(struct net_vhost *vhost)
{
	if (!vhost)
		return;
	loop_del(&vhost->net->thread->loop, &vhost->timer_watch);
	close_fd(&vhost->timer_fd);
	for (unsigned int i = 0; i < vhost->count; i++)
		close_fd(&vhost->fds[i]);
	free(vhost);
}

uint64_t net_vhost_offers(const struct net_vhost *vhost, uint64_t features)
{
	return features & ~(RING_FEATURES & ~vhost->features);
}

/* --- who serves a pair --- */

static bool is_wanted(const struct net_pair *pair)
{
	const struct net *net = pair->net;
	const struct virtio_device *dev = &net->dev;

	return net->vhost && !net->vhost_failed && pair->index < net->fd_count &&
	       pair->index < net->used_pairs && dev->active && !dev->broken && !dev->held &&
	       !rate_limit_is_set(&net->rx_gate.limit) && !rate_limit_is_set(&net->tx_gate.limit) &&
	       !(dev->negotiated & RING_FEATURES & ~net->vhost->features) &&
	       dev->queues[net_rx_queue(pair)].state.ready &&
	       dev->queues[net_tx_queue(pair)].state.ready;
}

bool net_vhost_is_due(const struct net *net)
{
	for (unsigned int i = 0; i < net->pair_count; i++)
		if (is_wanted(&net->pairs[i]) != net->pairs[i].vhost)
			return true;
	return false;
}

bool net_vhost_runs(const struct net *net)
{
	for (unsigned int i = 0; i < net->pair_count; i++)
		if (net->pairs[i].vhost)
			return true;
	return false;
}

static int set_state(int fd, unsigned long request, unsigned int ring, unsigned int number)
{
	struct vhost_vring_state state = {.index = ring, .num = number};

	return ioctl(fd, request, &state);
}

static int set_file(int fd, unsigned long request, unsigned int ring, int file)
{
	struct vhost_vring_file what = {.index = ring, .fd = file};

	return ioctl(fd, request, &what);
}

/*
 * Addresses and size have been checked by virtqueue_enable. Of the addresses in descriptors it
 * reaches those in the table of memory, and no more: VIRTIO_F_ACCESS_PLATFORM is never set.
 */
static int ring_describe(const struct net_pair *pair, unsigned int ring)
{
	const struct net *net = pair->net;
	const struct virtqueue *vq = &net->dev.queues[2 * pair->index + ring];
	struct vhost_vring_addr addr = {
		.index = ring,
		.desc_user_addr = (uintptr_t)vq->desc,
		.avail_user_addr = (uintptr_t)vq->avail,
		.used_user_addr = (uintptr_t)vq->used,
	};
	int fd = net->vhost->fds[pair->index];

	return set_state(fd, VHOST_SET_VRING_NUM, ring, vq->state.size) < 0 ||
			       set_state(fd, VHOST_SET_VRING_BASE, ring, vq->state.next_avail) <
				       0 ||
			       ioctl(fd, VHOST_SET_VRING_ADDR, &addr) < 0 ||
			       set_file(fd, VHOST_SET_VRING_CALL, ring, net->call_fd) < 0 ||
			       set_file(fd, VHOST_SET_VRING_ERR, ring, net->error_fd) < 0
		       ? -errno
		       : 0;
}

static int ring_start(const struct net_pair *pair, unsigned int ring)
{
	const struct net *net = pair->net;
	int fd = net->vhost->fds[pair->index];

	return set_file(fd, VHOST_NET_SET_BACKEND, ring, pair->fd) < 0 ||
			       set_file(fd, VHOST_SET_VRING_KICK, ring,
					net->dev.queue_fds[2 * pair->index + ring]) < 0
		       ? -errno
		       : 0;
}

/*
 * Where it has come to. It gives chains back in their order; what it has taken and given none back
 * for, as when the tap has gone, is done once more here, or the driver would wait for that.
 */
static uint16_t next_after(const struct virtqueue *vq, uint16_t taken)
{
	uint16_t given_back = virtqueue_used_idx(vq);

	/* The driver could have written there. */
	return (uint16_t)(taken - given_back) <= vq->state.size ? given_back : taken;
}

/* When it returns the rings are not touched any more, and we go on where it has come to. */
static void pair_stop(struct net_pair *pair)
{
	struct virtio_device *dev = &pair->net->dev;
	int fd = pair->net->vhost->fds[pair->index];

	for (unsigned int ring = 0; ring < 2; ring++) {
		unsigned int queue = 2 * pair->index + ring;
		struct virtqueue *vq = &dev->queues[queue];
		struct vhost_vring_state base = {.index = ring};

		set_file(fd, VHOST_NET_SET_BACKEND, ring, -1);
		set_file(fd, VHOST_SET_VRING_KICK, ring, -1);
		if (vq->state.ready && ioctl(fd, VHOST_GET_VRING_BASE, &base) == 0)
			virtqueue_resume(vq, next_after(vq, (uint16_t)base.num));
		if (dev->watch_queue(dev->transport, queue, true) < 0)
			virtio_device_broken(dev, "a queue cannot be watched");
		virtio_queue_again(dev, queue);
	}
	pair->vhost = false;
	net_pair_watch(pair);
	/* For what it may have said and nobody has passed on yet. */
	if (dev->active && dev->interrupt)
		dev->interrupt(dev->transport, VIRTIO_MMIO_INT_VRING);
}

/* Until both rings are described they are still served here. */
static int pair_start(struct net_pair *pair)
{
	struct net *net = pair->net;
	struct virtio_device *dev = &net->dev;
	struct virtqueue *rx = &dev->queues[net_rx_queue(pair)];
	uint64_t features = dev->negotiated & RING_FEATURES;
	int ret = ioctl(net->vhost->fds[pair->index], VHOST_SET_FEATURES, &features) < 0 ? -errno
											 : 0;

	/* What was read and found no buffers; if it finds none now either it is dropped. */
	if (pair->spill_len && net_rx_deliver(pair))
		virtio_queue_interrupt(dev, rx);
	/* Buffers that were taken ahead. */
	virtqueue_resume(rx, (uint16_t)(rx->state.next_avail - pair->buffer_count));
	net_rx_reset(pair);
	for (unsigned int ring = 0; ret == 0 && ring < 2; ring++)
		ret = ring_describe(pair, ring);
	if (ret < 0)
		return ret;
	pair->vhost = true;
	pair->tx_blocked = false;
	for (unsigned int ring = 0; ret == 0 && ring < 2; ring++) {
		dev->watch_queue(dev->transport, 2 * pair->index + ring, false);
		ret = ring_start(pair, ring);
		/* What was offered before may have been notified to us. */
		virtio_queue_again(dev, 2 * pair->index + ring);
	}
	net_pair_watch(pair);
	return ret;
}

/*
 * That its interface is gone a tap says as it says that there are frames, and for those we do not
 * wait. epoll looks at a descriptor when it is added: then there is the error.
 */
static void look_at_taps(struct loop_watch *watch, uint32_t events)
{
	struct net_vhost *vhost = container_of(watch, struct net_vhost, timer_watch);
	struct net *net = vhost->net;

	(void)events;
	if (!event_take(vhost->timer_fd))
		return;
	pthread_mutex_lock(&net->dev.lock);
	for (unsigned int i = 0; i < net->fd_count; i++) {
		struct loop_watch *tap = &net->pairs[i].watch;

		if (!net->pairs[i].vhost || !tap->active)
			continue;
		loop_del(&net->thread->loop, tap);
		loop_add(&net->thread->loop, tap, tap->fd, 0, tap->fn);
	}
	pthread_mutex_unlock(&net->dev.lock);
}

static int look_now_and_then(struct net_vhost *vhost, bool on)
{
	const struct timespec when = {.tv_sec = on ? LOOK_SECONDS : 0};
	const struct itimerspec times = {.it_interval = when, .it_value = when};
	int ret = 0;

	if (!vhost->timer_watch.active)
		ret = loop_add(&vhost->net->thread->loop, &vhost->timer_watch, vhost->timer_fd,
			       EPOLLIN, look_at_taps);
	if (ret == 0 && timerfd_settime(vhost->timer_fd, 0, &times, NULL) < 0)
		ret = -errno;
	return ret;
}

void net_vhost_stop(struct net *net, bool all)
{
	for (unsigned int i = 0; i < net->pair_count; i++)
		if (net->pairs[i].vhost && (all || !is_wanted(&net->pairs[i])))
			pair_stop(&net->pairs[i]);
	if (net->vhost && !net_vhost_runs(net))
		look_now_and_then(net->vhost, false);
	pthread_cond_broadcast(&net->vhost_stopped);
}

void net_vhost_start(struct net *net)
{
	bool ran = net_vhost_runs(net);
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < net->pair_count; i++)
		if (is_wanted(&net->pairs[i]) && !net->pairs[i].vhost)
			ret = pair_start(&net->pairs[i]);
	if (ret == 0 && !ran && net_vhost_runs(net)) {
		log_debug("%s: vhost-net serves it", net->dev.name);
		ret = look_now_and_then(net->vhost, true);
	}
	if (ret == 0)
		return;
	log_warn("%s: vhost-net: %s; it goes on without", net->dev.name, strerror(-ret));
	net_vhost_stop(net, true);
	net_vhost_destroy(take_ptr(net->vhost));
}

/* --- what it says --- */

static void called(struct loop_watch *watch, uint32_t events)
{
	struct net *net = container_of(watch, struct net, call_watch);

	(void)events;
	if (!event_take(net->call_fd))
		return;
	pthread_mutex_lock(&net->dev.lock);
	if (net->dev.active && !net->dev.broken && net->dev.interrupt)
		net->dev.interrupt(net->dev.transport, VIRTIO_MMIO_INT_VRING);
	pthread_mutex_unlock(&net->dev.lock);
}

/*
 * That a ring is broken it says, but also that the tap has gone while it was sending. Which it is
 * shows by itself when the rings are served here.
 */
static void ring_failed(struct loop_watch *watch, uint32_t events)
{
	struct net *net = container_of(watch, struct net, error_watch);

	(void)events;
	if (!event_take(net->error_fd))
		return;
	pthread_mutex_lock(&net->dev.lock);
	if (net->dev.active && net_vhost_runs(net)) {
		log_debug("%s: vhost-net gives it up", net->dev.name);
		net->vhost_failed = true;
		net_vhost_stop(net, true);
	}
	pthread_mutex_unlock(&net->dev.lock);
}

int net_vhost_watch(struct net *net)
{
	int ret = loop_add(&net->thread->loop, &net->call_watch, net->call_fd, EPOLLIN, called);

	return ret < 0 ? ret
		       : loop_add(&net->thread->loop, &net->error_watch, net->error_fd, EPOLLIN,
				  ring_failed);
}
