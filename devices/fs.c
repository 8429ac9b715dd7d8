#include "devices/fs.h"

#include <linux/fuse.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/event.h"
#include "common/log.h"
#include "devices/activity.h"
#include "devices/inflight.h"
#include "devices/iov.h"
#include "devices/vhost_user.h"

/* Queue 0 is for what must not wait behind requests (FORGET, INTERRUPT). */
#define FS_QUEUES     2
#define FS_QUEUE_SIZE 256

enum fs_state {
	FS_EMPTY,   /* no back end yet */
	FS_IDLE,    /* the back end has no queues */
	FS_RUNNING, /* it has them */
	FS_LOST,    /* it is gone, or of no use: we answer */
};

struct fs {
	struct virtio_device dev;
	struct virtio_fs_config config;
	enum fs_state state;	/* under dev.lock, as all that follows */
	bool opened;		/* the back end was asked for its features */
	bool records;		/* it may keep the record of requests in flight */
	bool recorded;		/* it does */
	bool serving;		/* we watch the queues */
	bool grown;		/* there is memory that the back end may not know of */
	bool handed[FS_QUEUES]; /* the back end has, or had, this queue */
	int fd;
	struct vhost_user back_end;
	struct inflight inflight;
	struct activity activity;
	pthread_cond_t settled; /* state has changed */

	struct io_thread
		thread; /* waits for the back end so that nobody else does: it has its own */
	int work_fd;	/* the driver wants it to run, or not to */
	struct loop_watch work_watch, socket_watch;
	struct virtqueue_chain chain;
};

static struct fs *to_fs(struct virtio_device *dev)
{
	return container_of(dev, struct fs, dev);
}

/* --- without a back end --- */

/* ENOTCONN is what FUSE itself says when a file system's server is gone. */
static uint32_t refuse(struct virtio_device *dev, unsigned int queue, struct virtqueue_chain *chain)
{
	struct fuse_in_header in = {0};
	struct fuse_out_header out = {.len = sizeof(out), .error = -ENOTCONN};

	(void)dev;
	(void)queue;
	/* FORGET has nothing to write an answer to. */
	if (iov_read(chain->iov, chain->readable, 0, &in, sizeof(in)) < sizeof(in) ||
	    chain->writable_len < sizeof(out))
		return 0;
	out.unique = in.unique;
	return (uint32_t)iov_write(virtqueue_chain_writable(chain), chain->writable, 0, &out,
				   sizeof(out));
}

static void fs_kicked(struct virtio_device *dev, unsigned int queue)
{
	struct fs *fs = to_fs(dev);

	if (fs->state == FS_LOST)
		virtio_queue_serve(dev, queue, &fs->chain, refuse);
}

/* Answers what the back end has taken with it. */
static void queue_take_over(struct fs *fs, unsigned int queue)
{
	struct virtqueue *vq = &fs->dev.queues[queue];
	uint16_t heads[VIRTQUEUE_SIZE_MAX];
	uint16_t used_idx = virtqueue_used_idx(vq);
	unsigned int count = 0;

	if (fs->recorded)
		count = inflight_heads(&fs->inflight, queue, used_idx, heads);
	virtqueue_resume(vq, (uint16_t)(used_idx + count));
	for (unsigned int i = 0; i < count; i++) {
		uint32_t len = 0;

		if (virtqueue_chain_at(vq, heads[i], &fs->chain) > 0)
			len = refuse(&fs->dev, queue, &fs->chain);
		virtqueue_push(vq, fs->chain.head, len);
	}
}

static void take_over(struct fs *fs)
{
	struct virtio_device *dev = &fs->dev;

	for (unsigned int i = 0; i < FS_QUEUES; i++) {
		struct virtqueue *vq = &dev->queues[i];

		if (!vq->state.ready)
			continue;
		if (!fs->handed[i]) {
			virtio_queue_again(dev, i);
			continue;
		}
		/* Who waits for what it had taken cannot be known, so nothing can be answered. */
		if (!fs->recorded && virtqueue_avail_idx(vq) != virtqueue_used_idx(vq)) {
			virtio_device_broken(dev, "the back end has ended with requests");
			return;
		}
		queue_take_over(fs, i);
		virtio_queue_again(dev, i);
	}
	/* The driver may have been promised, by the back end, interrupts that never came. */
	if (dev->interrupt)
		dev->interrupt(dev->transport, VIRTIO_MMIO_INT_VRING);
}

/* The lock is held; on the device's thread. */
static void serve(struct fs *fs)
{
	if (fs->serving)
		return;
	fs->serving = true;
	if (fs->dev.serve_queues(fs->dev.transport) < 0)
		virtio_device_broken(&fs->dev, "queues cannot be watched");
}

/* The same. */
static void back_end_lost(struct fs *fs, const char *why)
{
	bool running = fs->state == FS_RUNNING;

	if (fs->state == FS_LOST)
		return;
	log_error("%s: file systems shared with the guest give errors from now on", why);
	fs->state = FS_LOST;
	loop_del(&fs->thread.loop, &fs->socket_watch);
	activity_end(&fs->activity);
	/* What still lives there must not serve a guest that was told that it is gone. */
	shutdown(fs->fd, SHUT_RDWR);
	serve(fs);
	if (running && fs->dev.active)
		take_over(fs);
	pthread_cond_broadcast(&fs->settled);
}

/* --- with one --- */

static int record_inflight(struct fs *fs, struct error *err)
{
	int ret;

	fs->recorded = false;
	if (!(fs->back_end.protocol & VHOST_USER_INFLIGHT))
		return 0;
	inflight_clear(&fs->inflight);
	ret = vhost_user_set_inflight(&fs->back_end, fs->inflight.fd, fs->inflight.len, FS_QUEUES,
				      FS_QUEUE_SIZE, err);
	if (ret < 0)
		return ret;
	fs->recorded = inflight_is_kept(&fs->inflight);
	return 0;
}

static int back_end_start(struct fs *fs, struct error *err)
{
	struct virtio_device *dev = &fs->dev;
	int ret = 0;

	if (!fs->opened)
		ret = vhost_user_open(&fs->back_end, FS_QUEUES,
				      fs->records ? VHOST_USER_INFLIGHT : 0, err);
	if (ret < 0)
		return ret;
	fs->opened = true;
	memset(fs->handed, 0, sizeof(fs->handed));
	if ((ret = vhost_user_configure(&fs->back_end, dev->negotiated, dev->mem, err)) < 0 ||
	    (ret = record_inflight(fs, err)) < 0)
		return ret;
	for (unsigned int i = 0; ret == 0 && i < FS_QUEUES; i++)
		if (dev->queues[i].state.ready) {
			fs->handed[i] = true;
			ret = vhost_user_vring_start(&fs->back_end, i, &dev->queues[i],
						     dev->queue_fds[i], dev->irq_fd, err);
		}
	return ret;
}

static int back_end_stop(struct fs *fs, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < FS_QUEUES; i++) {
		struct virtqueue *vq = &fs->dev.queues[i];
		uint16_t next_avail;

		if (!vq->state.ready)
			continue;
		ret = vhost_user_vring_stop(&fs->back_end, i, &next_avail, err);
		if (ret == 0)
			virtqueue_resume(vq, next_avail);
	}
	return ret;
}

/* Hung up: outside of an exchange the back end has nothing to say, only to end. */
static void socket_closed(struct loop_watch *watch, uint32_t events)
{
	struct fs *fs = container_of(watch, struct fs, socket_watch);

	(void)events;
	pthread_mutex_lock(&fs->dev.lock);
	back_end_lost(fs, "fs: the file system daemon has ended");
	pthread_mutex_unlock(&fs->dev.lock);
}

/* Brings the back end into the state that the driver wants. The lock is held. */
static void settle(struct fs *fs)
{
	struct error err = {0};
	int ret = 0;

	if (fs->state == FS_IDLE && !fs->socket_watch.active)
		ret = loop_add(&fs->thread.loop, &fs->socket_watch, fs->fd, EPOLLRDHUP,
			       socket_closed);
	if (ret < 0)
		error_set(&err, -ret, "epoll");
	else if (fs->state == FS_IDLE && fs->dev.active) {
		ret = back_end_start(fs, &err);
		if (ret == 0)
			ret = activity_begin(&fs->activity, fs->dev.queue_fds[FS_QUEUES - 1]);
		if (ret == 0)
			fs->state = FS_RUNNING;
	} else if (fs->state == FS_RUNNING && !fs->dev.active) {
		activity_end(&fs->activity);
		ret = back_end_stop(fs, &err);
		if (ret == 0)
			fs->state = FS_IDLE;
	}
	if (ret == 0 && fs->grown && fs->state == FS_RUNNING)
		ret = vhost_user_more_memory(&fs->back_end, fs->dev.mem, &err);
	fs->grown = false;
	if (fs->state == FS_LOST)
		serve(fs);
	if (ret < 0) {
		fs->state = FS_RUNNING; /* it may have some of the queues */
		back_end_lost(fs, err.message);
	}
	pthread_cond_broadcast(&fs->settled);
}

static void work(struct loop_watch *watch, uint32_t events)
{
	struct fs *fs = container_of(watch, struct fs, work_watch);

	(void)events;
	if (!event_take(fs->work_fd))
		return;
	pthread_mutex_lock(&fs->dev.lock);
	settle(fs);
	pthread_mutex_unlock(&fs->dev.lock);
}

static void tell_thread(struct fs *fs)
{
	event_signal(fs->work_fd);
}

/* --- the device --- */

static int fs_start(struct virtio_device *dev)
{
	return io_thread_start(&to_fs(dev)->thread);
}

static void fs_activate(struct virtio_device *dev)
{
	struct fs *fs = to_fs(dev);

	/* Until there is a back end the driver's requests wait in the queues. */
	if (fs->state != FS_EMPTY)
		tell_thread(fs);
}

static void fs_reset(struct virtio_device *dev)
{
	struct fs *fs = to_fs(dev);

	tell_thread(fs);
	while (fs->state == FS_RUNNING)
		pthread_cond_wait(&fs->settled, &dev->lock);
}

/* Called when the machine ends: the back end is let go of, and not asked any more. */
static void fs_stop(struct virtio_device *dev)
{
	struct fs *fs = to_fs(dev);

	if (!fs->thread.runs)
		return;
	/* Ends an exchange that the thread may be in; it holds the lock meanwhile. */
	loop_stop(&fs->thread.loop);
	shutdown(fs->fd, SHUT_RDWR);
	io_thread_stop(&fs->thread);
	fs->state = FS_LOST;
}

static void fs_config_read(struct virtio_device *dev, uint32_t offset, void *buf, size_t len)
{
	struct fs *fs = to_fs(dev);

	virtio_config_copy(&fs->config, sizeof(fs->config), offset, buf, len);
}

static const struct virtio_device_ops fs_ops = {
	.config_read = fs_config_read,
	.start = fs_start,
	.activate = fs_activate,
	.reset = fs_reset,
	.queue_kicked = fs_kicked,
	.stop = fs_stop,
};

int fs_attach(struct fs *fs, int fd, struct error *err)
{
	struct vhost_user back_end;
	int ret = vhost_user_init(&back_end, fd, fs->dev.name, err);

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&fs->dev.lock);
	if (fs->state != FS_EMPTY) {
		ret = error_say(err, EBUSY, "%s: it has a back end already", fs->dev.name);
		goto out;
	}
	fs->fd = fd;
	fs->back_end = back_end;
	fs->state = FS_IDLE;
	tell_thread(fs);
out:
	pthread_mutex_unlock(&fs->dev.lock);
	return ret;
}

bool fs_takes_memory(struct fs *fs)
{
	bool takes;

	pthread_mutex_lock(&fs->dev.lock);
	takes = fs->state != FS_RUNNING || vhost_user_takes_memory(&fs->back_end);
	pthread_mutex_unlock(&fs->dev.lock);
	return takes;
}

void fs_memory_grown(struct fs *fs)
{
	pthread_mutex_lock(&fs->dev.lock);
	fs->grown = fs->thread.runs;
	tell_thread(fs);
	while (fs->grown)
		pthread_cond_wait(&fs->settled, &fs->dev.lock);
	pthread_mutex_unlock(&fs->dev.lock);
}

int fs_create(struct fs **out, const struct fs_options *options, const struct guest_memory *mem,
	      struct error *err)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	int ret;

	if (!fs)
		return error_set(err, ENOMEM, "fs");
	fs->dev.ops = &fs_ops;
	fs->dev.name = "fs";
	fs->dev.id = VIRTIO_ID_FS;
	fs->dev.external = true;
	fs->fd = fs->work_fd = fs->inflight.fd = -1;
	fs->activity = (struct activity)ACTIVITY_INIT;
	fs->records = options->records_inflight;
	memcpy(fs->config.tag, options->tag, strnlen(options->tag, FS_TAG_LEN));
	fs->config.num_request_queues = FS_QUEUES - 1;
	pthread_cond_init(&fs->settled, NULL);
	virtio_device_init(&fs->dev, mem, 0, FS_QUEUES, FS_QUEUE_SIZE);
	ret = io_thread_init(&fs->thread, fs->dev.name, options->thread_begins);
	if (ret == 0) {
		fs->work_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		ret = fs->work_fd < 0 ? -errno
				      : loop_add(&fs->thread.loop, &fs->work_watch, fs->work_fd,
						 EPOLLIN, work);
	}
	if (ret == 0 && options->activity_fd >= 0)
		ret = activity_init(&fs->activity, &fs->thread.loop, options->activity_fd);
	if (ret == 0)
		ret = inflight_create(&fs->inflight, FS_QUEUES, FS_QUEUE_SIZE);
	if (ret < 0)
		error_set(err, -ret, "fs: make the device");
	else if (options->fd >= 0)
		ret = fs_attach(fs, options->fd, err);
	if (ret < 0) {
		fs_destroy(fs);
		return ret;
	}
	*out = fs;
	return 0;
}

void fs_destroy(struct fs *fs)
{
	if (!fs)
		return;
	fs_stop(&fs->dev);
	io_thread_destroy(&fs->thread);
	close_fd(&fs->work_fd);
	close_fd(&fs->fd);
	inflight_destroy(&fs->inflight);
	activity_destroy(&fs->activity);
	pthread_cond_destroy(&fs->settled);
	virtio_device_destroy(&fs->dev);
	free(fs);
}

struct virtio_device *fs_device(struct fs *fs)
{
	return &fs->dev;
}

struct loop *fs_loop(struct fs *fs)
{
	return &fs->thread.loop;
}
