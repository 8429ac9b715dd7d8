#include "vmm/device_set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "devices/balloon.h"
#include "devices/console.h"
#include "devices/fs.h"
#include "devices/mem.h"
#include "devices/net.h"
#include "devices/rng.h"
#include "vmm/filter.h"

static void io_thread_begins(void)
{
	filter_enter(FILTER_IO);
}

static void fs_thread_begins(void)
{
	filter_enter(FILTER_FS);
}

static void console_output(void *ctx, const void *bytes, size_t len)
{
	struct device_set *set = ctx;

	console_ring_write(set->config.console, bytes, len);
}

static void release_memory(void *ctx, void *bytes, size_t len)
{
	struct device_set *set = ctx;

	vm_memory_release(set->config.memory, bytes, len);
}

static int plug(struct device_set *set, struct virtio_device *dev, struct loop *loop,
		struct error *err)
{
	int ret;

	if (set->slot_count == LAYOUT_VIRTIO_SLOTS)
		return error_say(err, ENOSPC, "%s: no place left for a device", dev->name);
	ret = slot_init(&set->slots[set->slot_count], set->slot_count, &set->config.host, dev, loop,
			err);
	if (ret == 0)
		set->slot_count++;
	return ret;
}

/* The options' own are left for another machine, should this one not come about. */
static int copy_fd(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* A disk's files after the first. */
struct more_files {
	int *fds;
	unsigned int count;
};

static void close_more(struct more_files *more)
{
	for (unsigned int i = 0; i < more->count; i++)
		close(more->fds[i]);
	free(more->fds);
}

static int copy_more(struct more_files *more, const struct vmm_disk *disk)
{
	more->fds = calloc(disk->more_count + 1, sizeof(int));
	if (!more->fds)
		return -ENOMEM;
	for (; more->count < disk->more_count; more->count++) {
		more->fds[more->count] = copy_fd(disk->more_fds[more->count]);
		if (more->fds[more->count] < 0)
			return -errno;
	}
	return 0;
}

static int plug_disk(struct device_set *set, unsigned int i, struct error *err)
{
	const struct vmm_disk *disk = &set->config.options->disks[i];
	cleanup_fd int fd = copy_fd(disk->fd);
	__attribute__((cleanup(close_more))) struct more_files more = {0};
	int ret = copy_more(&more, disk);
	struct blk_options options = {
		.fd = fd,
		.more_fds = more.fds,
		.more_count = disk->more_count,
		.read_only = disk->read_only,
		.direct = disk->direct,
		.serial = disk->serial,
		.name = set->disk_names[i],
		.queues = set->config.options->cpus < BLK_QUEUES_MAX ? set->config.options->cpus
								     : BLK_QUEUES_MAX,
		.thread = set->io_thread.name ? &set->io_thread : NULL,
		.thread_begins = set->config.confined ? io_thread_begins : NULL,
	};

	snprintf(set->disk_names[i], sizeof(set->disk_names[i]), "disk%u", i);
	if (fd < 0 && disk->fd >= 0)
		return error_set(err, errno, "%s", options.name);
	if (ret < 0)
		return error_set(err, -ret, "%s", options.name);
	ret = blk_create(&set->disks[i], &options, &set->config.memory->map, err);
	if (ret < 0)
		return ret;
	take_fd(&fd);
	more.count = 0;
	return plug(set, blk_device(set->disks[i]), blk_loop(set->disks[i]), err);
}

/* Linux 6.2 has taps that cut UDP into segments; to offer this to the guest is the kernel's word.
 */
static bool kernel_cuts_udp(void)
{
	struct utsname name;
	unsigned int major = 0, minor = 0;

	if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return false;
	return major > 6 || (major == 6 && minor >= 2);
}

static int plug_nic(struct device_set *set, unsigned int i, struct error *err)
{
	const struct vmm_options *options = set->config.options;
	struct net_options net = {
		.name = set->nic_names[i],
		.index = i,
		.pairs = options->nic_stream[i]		 ? 1
			 : options->cpus < NET_PAIRS_MAX ? options->cpus
							 : NET_PAIRS_MAX,
		.plain = options->nic_stream[i],
		.udp_segmentation = kernel_cuts_udp(),
		.thread = set->io_thread.name ? &set->io_thread : NULL,
		.thread_begins = set->config.confined ? io_thread_begins : NULL,
	};
	int ret;

	snprintf(set->nic_names[i], sizeof(set->nic_names[i]), "net%u", i);
	ret = net_create(&set->nics[i], &net, &set->config.memory->map, err);
	if (ret < 0)
		return ret;
	return plug(set, net_device(set->nics[i]), net_loop(set->nics[i]), err);
}

static int plug_vsock(struct device_set *set, struct error *err)
{
	cleanup_fd int listen_fd = copy_fd(set->config.options->vsock_fd);
	struct vsock_options options = {
		.guest_cid = VSOCK_GUEST_CID,
		.connect = set->config.connect,
		.closed = set->config.closed,
		.buffered = set->config.buffered,
		.ctx = set->config.vsock_ctx,
		.listen_fd = listen_fd,
		.loop = set->config.loop,
	};
	int ret = vsock_create(&set->vsock, &options, &set->config.memory->map, err);

	if (ret < 0)
		return ret;
	take_fd(&listen_fd);
	return plug(set, vsock_device(set->vsock), set->config.loop, err);
}

static int plug_fs(struct device_set *set, struct error *err)
{
	struct fs_options options = {
		.tag = PROTO_SHARES_TAG,
		.fd = set->config.options->fs_fd,
		.records_inflight = set->config.options->fs_records_inflight,
		.activity_fd = set->config.options->fs_activity_fd,
		.thread_begins = set->config.confined ? fs_thread_begins : NULL,
	};
	int ret = 0;

	if (options.fd < 0 && !set->config.options->fs_empty)
		return 0;
	if (options.fd >= 0)
		ret = daemon_log_open(&set->fs_log, "virtiofsd", set->config.options->fs_log_fd,
				      set->config.loop);
	if (ret < 0)
		return error_set(err, -ret, "log of virtiofsd");
	ret = fs_create(&set->fs, &options, &set->config.memory->map, err);
	if (ret < 0)
		return ret;
	return plug(set, fs_device(set->fs), fs_loop(set->fs), err);
}

/* For a single disk or NIC a thread of its own is the same. */
static int share_io_thread(struct device_set *set, struct error *err)
{
	const struct vmm_options *options = set->config.options;
	int ret;

	if (options->own_io_threads || options->disk_count + options->nic_count < 2)
		return 0;
	ret = io_thread_init(&set->io_thread, "io", set->config.confined ? io_thread_begins : NULL);
	set->io_thread.loop.shared = true;
	return ret < 0 ? error_set(err, -ret, "I/O thread: event loop") : 0;
}

static int plug_mem(struct device_set *set, struct error *err)
{
	const struct vm_memory *memory = set->config.memory;
	int ret;

	if (!memory->more)
		return 0;
	ret = mem_create(&set->mem, &memory->map, memory->more, release_memory, set, err);
	return ret < 0 ? ret : plug(set, mem_device(set->mem), set->config.loop, err);
}

/* Disks come first: their order is their names in the guest. */
static int plug_all(struct device_set *set, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < set->config.options->disk_count; i++)
		ret = plug_disk(set, i, err);
	if (ret == 0)
		ret = plug_vsock(set, err);
	if (ret == 0)
		ret = console_create(&set->console, &set->config.memory->map, console_output, set,
				     err);
	if (ret == 0)
		ret = plug(set, console_device(set->console), set->config.loop, err);
	if (ret == 0)
		ret = rng_create(&set->rng, &set->config.memory->map, err);
	if (ret == 0)
		ret = plug(set, rng_device(set->rng), set->config.loop, err);
	if (ret == 0)
		ret = balloon_create(&set->balloon, &set->config.memory->map, release_memory, set,
				     err);
	if (ret == 0)
		ret = plug(set, balloon_device(set->balloon), set->config.loop, err);
	if (ret == 0)
		ret = plug_mem(set, err);
	for (unsigned int i = 0; ret == 0 && i < set->config.options->nic_count; i++)
		ret = plug_nic(set, i, err);
	if (ret == 0)
		ret = plug_fs(set, err);
	return ret;
}

int device_set_plug(struct device_set *set, const struct device_set_config *config,
		    struct error *err)
{
	int ret;

	set->config = *config;
	ret = share_io_thread(set, err);
	if (ret == 0)
		ret = plug_all(set, err);
	if (ret < 0 || !set->io_thread.name)
		return ret;
	ret = io_thread_start(&set->io_thread);
	return ret < 0 ? error_set(err, -ret, "start the I/O thread") : 0;
}

void device_set_init(struct device_set *set)
{
	*set = (struct device_set){.fs_log.fd = -1};
}

void device_set_unplug(struct device_set *set)
{
	/* First: the daemon complains about every end of its connection. */
	daemon_log_close(&set->fs_log);
	/* What is in flight ends while the thread that they share runs, which then is in no one's
	 * way. */
	for (unsigned int i = 0; i < set->slot_count; i++)
		slot_stop(&set->slots[i]);
	io_thread_stop(&set->io_thread);
	for (unsigned int i = 0; i < set->slot_count; i++)
		slot_destroy(&set->slots[i]);
	set->slot_count = 0;
	vsock_destroy(take_ptr(set->vsock));
	console_destroy(take_ptr(set->console));
	rng_destroy(take_ptr(set->rng));
	balloon_destroy(take_ptr(set->balloon));
	mem_destroy(take_ptr(set->mem));
	fs_destroy(take_ptr(set->fs));
	for (unsigned int i = 0; i < VMM_DISKS_MAX; i++)
		blk_destroy(take_ptr(set->disks[i]));
	for (unsigned int i = 0; i < VMM_NICS_MAX; i++)
		net_destroy(take_ptr(set->nics[i]));
	io_thread_destroy(&set->io_thread);
}

void device_set_announce_disks(struct device_set *set)
{
	for (unsigned int i = 0; i < set->config.options->disk_count; i++)
		virtio_config_interrupt(blk_device(set->disks[i]));
}
