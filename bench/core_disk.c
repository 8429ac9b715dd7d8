/*
 * A disk's random reads, of 4 KiB and of 64, at several depths, of a file in memory and of one on a
 * disk, beside fio with io_uring on the same file; both by the page cache, which has all of it, and
 * of the disk past it as well (disk-io=direct). The guest is played by this thread, which sleeps
 * until it is interrupted; the device has its own, as in a VM.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/core.h"
#include "devices/blk.h"
#include "tests/unit/driver.h"

#include <linux/virtio_blk.h>

#define FILE_LEN (64u << 20)
#define RUN_MS	 500

static struct {
	const char *name;
	char path[64];
	bool direct;
} files[] = {
	{"in memory", "/dev/shm/bulkhead-core-XXXXXX", false},
	{"cached", "build/bench/core-XXXXXX", false},
	{"direct", "build/bench/core-XXXXXX", true},
};

#define FILES (sizeof(files) / sizeof(files[0]))

/* What is counted: how many small ones, how many bytes in large ones. */
static const struct job {
	unsigned int block; /* bytes */
	unsigned int depth;
} jobs[] = {{4096, 1}, {4096, 32}, {4096, 128}, {65536, 1}, {65536, 32}};

static bool no_fio;

static void remove_files(void)
{
	for (size_t i = 0; i < FILES; i++)
		unlink(files[i].path);
}

static void disk_prepare(void)
{
	static uint8_t block[1u << 20];

	no_fio = system("fio --version >/dev/null 2>&1");
	for (size_t i = 0; i < FILES; i++) {
		int fd = mkstemp(files[i].path);

		if (fd < 0)
			core_fail("disk: %s cannot be made", files[i].path);
		memset(block, 0x5a, sizeof(block));
		for (unsigned int at = 0; at < FILE_LEN; at += sizeof(block))
			if (write(fd, block, sizeof(block)) != sizeof(block))
				core_fail("disk: %s cannot be filled", files[i].path);
		close(fd);
	}
	atexit(remove_files);
}

/* --- ours --- */

struct guest {
	struct driver driver;
	struct blk *blk;
	struct virtio_blk_outhdr *headers[VIRTQUEUE_SIZE_MAX]; /* by head */
	uint64_t random;
	unsigned int block; /* bytes of a read */
};

static void aim(struct guest *guest, struct virtio_blk_outhdr *header)
{
	guest->random ^= guest->random << 13;
	guest->random ^= guest->random >> 7;
	guest->random ^= guest->random << 17;
	header->type = VIRTIO_BLK_T_IN;
	header->sector = guest->random % (FILE_LEN / guest->block) * (guest->block / 512);
}

static void submit_new(struct guest *guest)
{
	uint64_t at = driver_alloc(&guest->driver, 16 + 1),
		 data = driver_alloc(&guest->driver, guest->block);
	struct driver_buffer buffers[] = {
		{at, 16, false}, {data, guest->block, true}, {at + 16, 1, true}};
	struct virtio_blk_outhdr *header = driver_at(&guest->driver, at);
	uint16_t head;

	aim(guest, header);
	head = driver_submit_indirect(&guest->driver, 0, buffers, 3);
	guest->headers[head] = header;
}

/* 2.7.7: only when the device has asked for it. */
static void notify(struct guest *guest, uint16_t before)
{
	const struct driver_queue *queue = &guest->driver.queues[0];
	uint16_t event;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memcpy(&event, &queue->used->ring[queue->size], sizeof(event));
	if (vring_need_event(event, queue->avail->idx, before))
		driver_kick(&guest->driver, 0);
}

static void wait_interrupt(struct guest *guest)
{
	struct pollfd pfd = {.fd = guest->driver.irq_fd, .events = POLLIN};

	/* An interrupt that came before its entry was taken is no reason to wait for long. */
	if (poll(&pfd, 1, 10) > 0)
		driver_interrupted(&guest->driver);
}

/* Both return reads a second. */
static double measure_ours(const char *path, bool direct, const struct job *job)
{
	static struct guest guest;
	struct blk_options options = {.serial = "bench", .name = "disk0", .read_only = true};
	struct error err = {0};
	uint64_t start, end, done = 0;
	uint16_t before;

	memset(&guest, 0, sizeof(guest));
	guest.random = 88172645463325252ull;
	guest.block = job->block;
	driver_init(&guest.driver);
	options.direct = direct;
	options.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (options.fd < 0 || blk_create(&guest.blk, &options, &guest.driver.mem, &err) < 0)
		core_fail("disk: %s", err.message);
	driver_attach(&guest.driver, blk_device(guest.blk), blk_loop(guest.blk), false);
	driver_start(&guest.driver, VIRTIO_FEATURES_COMMON);
	for (unsigned int i = 0; i < job->depth; i++)
		submit_new(&guest);
	start = core_now();
	driver_kick(&guest.driver, 0);
	for (end = start; end - start < RUN_MS * 1000000ull; end = core_now()) {
		struct vring_used_elem elem;
		unsigned int taken = 0;

		before = guest.driver.queues[0].avail->idx;
		while (driver_collect(&guest.driver, 0, &elem)) {
			if (elem.len != job->block + 1)
				core_fail("disk: a read has failed");
			aim(&guest, guest.headers[elem.id]);
			driver_offer(&guest.driver, 0, (uint16_t)elem.id);
			taken++;
		}
		done += taken;
		if (taken)
			notify(&guest, before);
		else
			wait_interrupt(&guest);
	}
	driver_reset(&guest.driver);
	driver_detach(&guest.driver);
	blk_destroy(guest.blk);
	driver_destroy(&guest.driver);
	return (double)done * 1e9 / (double)(end - start);
}

/* --- fio --- */

/* The eighth field of its terse form is the reads a second. */
static double measure_fio(const char *path, bool direct, const struct job *job)
{
	char command[256], line[4096], *at = line;
	FILE *fio;

	snprintf(
		command, sizeof(command),
		"fio --name=x --filename=%s --ioengine=io_uring --rw=randread --bs=%u "
		"--iodepth=%u --direct=%d --invalidate=0 --size=64m --time_based --runtime=%ums --minimal 2>/dev/null",
		path, job->block, job->depth, direct, RUN_MS);
	fio = popen(command, "r");
	if (!fio || !fgets(line, sizeof(line), fio))
		core_fail("disk: fio says nothing");
	pclose(fio);
	for (unsigned int field = 0; field < 7 && at; field++) {
		at = strchr(at, ';');
		at = at ? at + 1 : NULL;
	}
	if (!at)
		core_fail("disk: fio says %s", line);
	return atof(at);
}

static void sample(const struct job *job, const char *file, const char *whose, double reads)
{
	bool small = job->block == 4096;
	char name[96];

	snprintf(name, sizeof(name), "read %uk %s, depth %u: %s", job->block / 1024, file,
		 job->depth, whose);
	core_sample(name, small ? "kIOPS" : "MB/s", reads * (small ? 1e-3 : job->block * 1e-6));
}

static void disk_round(void)
{
	for (unsigned int file = 0; file < FILES; file++)
		for (unsigned int i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
			const char *path = files[file].path, *name = files[file].name;
			bool direct = files[file].direct;

			if (!no_fio)
				sample(&jobs[i], name, "fio", measure_fio(path, direct, &jobs[i]));
			sample(&jobs[i], name,
			       no_fio ? "bulkhead (fio: not installed)" : "bulkhead",
			       measure_ours(path, direct, &jobs[i]));
		}
}

const struct core_area core_disk = {.name = "disk", .prepare = disk_prepare, .round = disk_round};
