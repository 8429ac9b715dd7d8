#include "devices/virtio_mmio.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/event.h"
#include "devices/virtio_state.h"

#define MMIO_MAGIC     0x74726976u /* "virt" */
#define MMIO_VERSION   2u
#define MMIO_VENDOR_ID 0x4b4c4842u /* "BHLK" */

static void raise_interrupt(void *ctx, uint32_t status_bits)
{
	struct virtio_mmio *mmio = ctx;

	/* 2.5.2: who reads more than one field can tell that they do not belong together. */
	if (status_bits & VIRTIO_MMIO_INT_CONFIG)
		mmio->state.config_generation++;
	atomic_fetch_or(&mmio->interrupt_status, status_bits);
	mmio->interrupt.ring(mmio->interrupt.ctx, status_bits);
}

static void needs_reset(void *ctx)
{
	struct virtio_mmio *mmio = ctx;

	mmio->state.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	/* 2.1.2: after DRIVER_OK the driver is told. */
	if (mmio->state.status & VIRTIO_CONFIG_S_DRIVER_OK)
		raise_interrupt(mmio, VIRTIO_MMIO_INT_CONFIG);
}

static void kick(void *ctx, unsigned int queue)
{
	struct virtio_mmio *mmio = ctx;

	if (queue < mmio->dev->queue_count)
		event_signal(mmio->queue_fds[queue]);
}

static void queue_notified(struct loop_watch *watch, uint32_t events)
{
	struct virtio_mmio_queue_watch *qw = container_of(watch, struct virtio_mmio_queue_watch,
							  watch);
	struct virtio_device *dev = qw->mmio->dev;

	(void)events;
	pthread_mutex_lock(&dev->lock);
	stats_add(&dev->queues[qw->queue].stats.kicks, 1);
	if (dev->active && !dev->broken && dev->queues[qw->queue].state.ready)
		dev->ops->queue_kicked(dev, qw->queue);
	pthread_mutex_unlock(&dev->lock);
}

/*
 * By its edges: each notification is one, whatever the eventfd's count, which therefore need not be
 * read, and in all of a VM's life does not come near its end.
 */
static int watch_queue(struct virtio_mmio *mmio, unsigned int queue)
{
	return loop_add(mmio->loop, &mmio->watches[queue].watch, mmio->queue_fds[queue],
			EPOLLIN | EPOLLET, queue_notified);
}

static int serve_queues(void *ctx)
{
	struct virtio_mmio *mmio = ctx;
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < mmio->dev->queue_count; i++)
		ret = watch_queue(mmio, i);
	return ret;
}

static int watch_or_leave(void *ctx, unsigned int queue, bool watch)
{
	struct virtio_mmio *mmio = ctx;

	loop_del(mmio->loop, &mmio->watches[queue].watch);
	return watch ? watch_queue(mmio, queue) : 0;
}

int virtio_mmio_init(struct virtio_mmio *mmio, struct virtio_device *dev, struct loop *loop,
		     const struct virtio_interrupt *interrupt, struct error *err)
{
	memset(mmio, 0, sizeof(*mmio));
	mmio->dev = dev;
	mmio->loop = loop;
	mmio->interrupt = *interrupt;
	for (unsigned int i = 0; i < VIRTIO_QUEUES_MAX; i++)
		mmio->queue_fds[i] = -1;
	dev->interrupt = raise_interrupt;
	dev->needs_reset = needs_reset;
	dev->kick = kick;
	dev->serve_queues = serve_queues;
	dev->watch_queue = watch_or_leave;
	dev->queue_fds = mmio->queue_fds;
	dev->irq_fd = interrupt->fd;
	dev->transport = mmio;
	for (unsigned int i = 0; i < dev->queue_count; i++) {
		struct virtio_mmio_queue_watch *qw = &mmio->watches[i];
		int ret;

		qw->mmio = mmio;
		qw->queue = i;
		mmio->queue_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (mmio->queue_fds[i] < 0)
			ret = -errno;
		else
			ret = dev->external ? 0 : watch_queue(mmio, i);
		if (ret < 0) {
			virtio_mmio_destroy(mmio);
			return error_set(err, -ret, "%s: watch queue %u", dev->name, i);
		}
	}
	if (dev->ops->start) {
		int ret = dev->ops->start(dev);

		if (ret < 0) {
			virtio_mmio_destroy(mmio);
			return error_set(err, -ret, "%s: start its thread", dev->name);
		}
	}
	return 0;
}

void virtio_mmio_stop(struct virtio_mmio *mmio)
{
	if (mmio->dev->ops->stop)
		mmio->dev->ops->stop(mmio->dev);
}

void virtio_mmio_destroy(struct virtio_mmio *mmio)
{
	struct virtio_device *dev = mmio->dev;

	/* A loop is changed by its own thread only, or when that thread is gone. */
	virtio_mmio_stop(mmio);
	for (unsigned int i = 0; i < dev->queue_count; i++) {
		loop_del(mmio->loop, &mmio->watches[i].watch);
		close_fd(&mmio->queue_fds[i]);
	}
	dev->interrupt = NULL;
	dev->needs_reset = NULL;
	dev->kick = NULL;
	dev->serve_queues = NULL;
	dev->watch_queue = NULL;
	dev->queue_fds = NULL;
	dev->irq_fd = -1;
	dev->transport = NULL;
}

static struct virtqueue *selected_queue(struct virtio_mmio *mmio)
{
	uint32_t sel = mmio->state.queue_sel;

	return sel < mmio->dev->queue_count ? &mmio->dev->queues[sel] : NULL;
}

static uint32_t half(uint64_t value, uint32_t sel)
{
	if (sel > 1)
		return 0;
	return (uint32_t)(value >> (32 * sel));
}

static void set_half(uint64_t *value, uint32_t sel, uint32_t bits)
{
	if (sel == 0)
		*value = (*value & ~0xffffffffull) | bits;
	else if (sel == 1)
		*value = (*value & 0xffffffffull) | (uint64_t)bits << 32;
}

static uint32_t register_read(struct virtio_mmio *mmio, uint32_t offset)
{
	struct virtio_device *dev = mmio->dev;
	struct virtqueue *vq = selected_queue(mmio);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return MMIO_VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return atomic_load(&dev->absent) ? VIRTIO_ID_NONE : dev->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return MMIO_VENDOR_ID;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return half(dev->features, mmio->state.device_features_sel);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return vq ? vq->max_size : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return vq ? vq->state.ready : 0;
	case VIRTIO_MMIO_STATUS:
		return mmio->state.status;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return mmio->state.config_generation;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX; /* 4.2.2: the answer for a region that does not exist */
	default:
		return 0;
	}
}

uint64_t virtio_mmio_read(struct virtio_mmio *mmio, uint32_t offset, unsigned int len)
{
	struct virtio_device *dev = mmio->dev;
	uint64_t value = 0;

	if (offset == VIRTIO_MMIO_INTERRUPT_STATUS && len == 4)
		return atomic_load(&mmio->interrupt_status) |
		       (dev->external ? VIRTIO_MMIO_INT_VRING : 0);
	if (len != 1 && len != 2 && len != 4 && len != 8)
		return 0;
	if (offset >= VIRTIO_MMIO_SIZE || len > VIRTIO_MMIO_SIZE - offset)
		return 0;
	pthread_mutex_lock(&dev->lock);
	if (offset >= VIRTIO_MMIO_CONFIG)
		dev->ops->config_read(dev, offset - VIRTIO_MMIO_CONFIG, &value, len);
	else if (len == 4)
		value = register_read(mmio, offset);
	pthread_mutex_unlock(&dev->lock);
	return value;
}

/*
 * A reset may let go of the lock to wait for I/O. Nothing else starts meanwhile: the status stays
 * as it was, which is how a driver knows that the reset is not over (4.2.2.1), and another one that
 * a second vCPU asks for is this one.
 */
static void device_reset(struct virtio_mmio *mmio)
{
	struct virtio_device *dev = mmio->dev;

	if (mmio->resetting)
		return;
	mmio->resetting = true;
	dev->active = false;
	if (dev->ops->reset)
		dev->ops->reset(dev);
	mmio->resetting = false;
	dev->broken = false;
	dev->negotiated = 0;
	for (unsigned int i = 0; i < dev->queue_count; i++)
		virtqueue_reset(&dev->queues[i]);
	memset(&mmio->state, 0, sizeof(mmio->state));
	atomic_store(&mmio->interrupt_status, 0);
}

/* 3.1.1, step 5: FEATURES_OK stays only when the device agrees. */
static bool negotiate(struct virtio_mmio *mmio)
{
	struct virtio_device *dev = mmio->dev;
	uint64_t features = mmio->state.driver_features;

	if ((features & ~dev->features) || !(features & 1ull << VIRTIO_F_VERSION_1))
		return false;
	dev->negotiated = features;
	return true;
}

static void activate(struct virtio_mmio *mmio)
{
	struct virtio_device *dev = mmio->dev;

	dev->active = true;
	if (dev->ops->activate)
		dev->ops->activate(dev);
	/* Chains that were offered, and notified, before DRIVER_OK. */
	for (unsigned int i = 0; i < dev->queue_count; i++)
		kick(mmio, i);
}

static void status_write(struct virtio_mmio *mmio, uint32_t value)
{
	uint32_t before = mmio->state.status;
	uint32_t set = value & ~before;

	if (value == 0) {
		device_reset(mmio);
		return;
	}
	/* 2.1.1: bits are only added, NEEDS_RESET and what we do not know are not the driver's. */
	value &= VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK |
		 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED;
	if ((set & VIRTIO_CONFIG_S_FEATURES_OK) && !negotiate(mmio))
		value &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
	/* No DRIVER_OK without features. */
	if (!((before | value) & VIRTIO_CONFIG_S_FEATURES_OK))
		value &= ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK;
	mmio->state.status = before | value;
	if (value & ~before & VIRTIO_CONFIG_S_DRIVER_OK)
		activate(mmio);
}

static void queue_ready_write(struct virtio_mmio *mmio, struct virtqueue *vq, uint32_t value)
{
	if (!(value & 1)) {
		/* Without VIRTIO_F_RING_RESET a queue of a running device stays (4.2.2.2). */
		if (!(mmio->state.status & VIRTIO_CONFIG_S_DRIVER_OK))
			vq->state.ready = false;
		return;
	}
	if (vq->state.ready || !(mmio->state.status & VIRTIO_CONFIG_S_FEATURES_OK))
		return;
	virtqueue_negotiate(vq, mmio->dev->negotiated);
	if (virtqueue_enable(vq) < 0)
		virtio_device_broken(mmio->dev, "queue outside of memory or of a wrong size");
}

static void queue_write(struct virtio_mmio *mmio, uint32_t offset, uint32_t value)
{
	struct virtqueue *vq = selected_queue(mmio);

	if (!vq)
		return;
	if (offset == VIRTIO_MMIO_QUEUE_READY) {
		queue_ready_write(mmio, vq, value);
		return;
	}
	/* 4.2.2.2: a ready queue is not changed. */
	if (vq->state.ready || (mmio->state.status & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		/* What does not fit must not become something that does. */
		vq->state.size = value > vq->max_size ? 0 : (uint16_t)value;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&vq->state.desc_gpa, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_half(&vq->state.avail_gpa, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_half(&vq->state.used_gpa, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
		break;
	default:
		break;
	}
}

static void register_write(struct virtio_mmio *mmio, uint32_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		mmio->state.device_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		mmio->state.driver_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (!(mmio->state.status & VIRTIO_CONFIG_S_FEATURES_OK))
			set_half(&mmio->state.driver_features, mmio->state.driver_features_sel,
				 value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		mmio->state.queue_sel = value;
		break;
	case VIRTIO_MMIO_STATUS:
		status_write(mmio, value);
		break;
	default:
		queue_write(mmio, offset, value);
	}
}

void virtio_mmio_write(struct virtio_mmio *mmio, uint32_t offset, uint64_t value, unsigned int len)
{
	struct virtio_device *dev = mmio->dev;

	if (len != 1 && len != 2 && len != 4 && len != 8)
		return;
	if (offset >= VIRTIO_MMIO_SIZE || len > VIRTIO_MMIO_SIZE - offset)
		return;
	if (offset < VIRTIO_MMIO_CONFIG && len != 4)
		return;
	/* These two need no lock, and the guest must not wait for the device's I/O here. */
	if (offset == VIRTIO_MMIO_QUEUE_NOTIFY) {
		if (value < dev->queue_count)
			kick(mmio, (unsigned int)value);
		return;
	}
	if (offset == VIRTIO_MMIO_INTERRUPT_ACK) {
		atomic_fetch_and(&mmio->interrupt_status, ~(uint32_t)value);
		return;
	}
	pthread_mutex_lock(&dev->lock);
	if (offset < VIRTIO_MMIO_CONFIG)
		register_write(mmio, offset, (uint32_t)value);
	else if (dev->ops->config_write)
		dev->ops->config_write(dev, offset - VIRTIO_MMIO_CONFIG, &value, len);
	pthread_mutex_unlock(&dev->lock);
}

/* --- holding, saving and loading --- */

void virtio_mmio_hold(struct virtio_mmio *mmio)
{
	struct virtio_device *dev = mmio->dev;

	pthread_mutex_lock(&dev->lock);
	dev->held = true;
	if (dev->ops->hold)
		dev->ops->hold(dev);
	pthread_mutex_unlock(&dev->lock);
}

void virtio_mmio_release(struct virtio_mmio *mmio)
{
	struct virtio_device *dev = mmio->dev;

	pthread_mutex_lock(&dev->lock);
	dev->held = false;
	pthread_mutex_unlock(&dev->lock);
	/* What was offered meanwhile was looked for in vain. */
	for (unsigned int i = 0; i < dev->queue_count; i++)
		kick(mmio, i);
}

struct saved_transport {
	uint32_t device_id;
	uint32_t queue_count;
	uint32_t interrupt_status;
	uint32_t reserved;
	uint64_t negotiated;
	struct virtio_mmio_state registers;
	struct virtqueue_state queues[VIRTIO_QUEUES_MAX];
};

int virtio_mmio_save(struct virtio_mmio *mmio, struct records *out, uint32_t number,
		     struct error *err)
{
	struct virtio_device *dev = mmio->dev;
	struct saved_transport saved;
	int ret = 0;

	memset(&saved, 0, sizeof(saved));
	pthread_mutex_lock(&dev->lock);
	saved.device_id = dev->id;
	saved.queue_count = dev->queue_count;
	saved.interrupt_status = atomic_load(&mmio->interrupt_status);
	saved.negotiated = dev->negotiated;
	saved.registers = mmio->state;
	for (unsigned int i = 0; i < dev->queue_count; i++)
		saved.queues[i] = dev->queues[i].state;
	records_put(out, VIRTIO_STATE_TRANSPORT, number, &saved, sizeof(saved));
	if (dev->broken)
		ret = error_say(err, EIO, "%s: the guest has broken it", dev->name);
	else if (dev->ops->save)
		ret = dev->ops->save(dev, out, number, err);
	pthread_mutex_unlock(&dev->lock);
	return ret;
}

static int load_queues(struct virtio_device *dev, const struct saved_transport *saved)
{
	for (unsigned int i = 0; i < dev->queue_count; i++) {
		struct virtqueue *vq = &dev->queues[i];
		bool ready = saved->queues[i].ready;

		if (saved->queues[i].size > vq->max_size)
			return -EPROTO;
		vq->state = saved->queues[i];
		vq->state.ready = false;
		if (ready && virtqueue_enable(vq) < 0)
			return -EPROTO;
	}
	return 0;
}

static int load_transport(struct virtio_mmio *mmio, const struct saved_transport *saved)
{
	const uint32_t running = VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK;
	struct virtio_device *dev = mmio->dev;
	uint32_t status = saved->registers.status;

	if (saved->device_id != dev->id || saved->queue_count != dev->queue_count ||
	    (status & VIRTIO_CONFIG_S_NEEDS_RESET) || (saved->negotiated & ~dev->features))
		return -EPROTO;
	if ((status & VIRTIO_CONFIG_S_DRIVER_OK) && (status & running) != running)
		return -EPROTO;
	if ((status & VIRTIO_CONFIG_S_FEATURES_OK) &&
	    !(saved->negotiated & 1ull << VIRTIO_F_VERSION_1))
		return -EPROTO;
	mmio->state = saved->registers;
	dev->negotiated = saved->negotiated;
	return load_queues(dev, saved);
}

int virtio_mmio_load(struct virtio_mmio *mmio, const struct records *in, uint32_t number,
		     struct error *err)
{
	struct virtio_device *dev = mmio->dev;
	struct saved_transport saved;
	int ret = records_get(in, VIRTIO_STATE_TRANSPORT, number, &saved, sizeof(saved));

	pthread_mutex_lock(&dev->lock);
	if (ret == 0)
		ret = load_transport(mmio, &saved);
	if (ret < 0)
		error_say(err, -ret, "%s: the saved state does not fit", dev->name);
	if (ret == 0 && dev->ops->load)
		ret = dev->ops->load(dev, in, number, err);
	if (ret == 0 && (mmio->state.status & VIRTIO_CONFIG_S_DRIVER_OK))
		activate(mmio);
	pthread_mutex_unlock(&dev->lock);
	/* The edge of an interrupt that was not taken yet may have been lost; one more is harmless.
	 */
	if (ret == 0 && saved.interrupt_status)
		raise_interrupt(mmio, saved.interrupt_status);
	return ret;
}
