/*
 * The whole way of a request through a device: from the notification by the device's thread, its
 * back end and back to the interrupt, system calls among it. In batches: so many requests, one
 * notification, and all of them taken before the next. The disk is a file in the page cache, the
 * network a socket pair that keeps packets apart. For bench/instructions, which counts what the
 * device's thread executes, and for the pictures in docs/.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/core_path.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_net.h>

#define REQUESTS 9600u /* of each case: a multiple of every batch */
#define BLOCK	 4096u
#define BLOCKS	 256u
#define FRAME	 1514u
#define HEADER	 12u
#define RX	 0
#define TX	 1

static const char *const ways[] = {"blk, read 4k", "blk, write 4k", "net, from guest",
				   "net, to guest"};

static const struct path_case {
	enum path_way way;
	unsigned int batch;
} cases[] = {{READ, 1}, {READ, 8}, {READ, 32}, {WRITE, 1},   {WRITE, 8},   {WRITE, 32},
	     {SEND, 1}, {SEND, 8}, {SEND, 32}, {RECEIVE, 1}, {RECEIVE, 8}, {RECEIVE, 32}};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static int only = -1; /* CORE_PATH=N: this case alone */

static void open_disk(struct path *path)
{
	struct blk_options options = {
		.name = "disk0", .fd = memfd_create("disk", MFD_CLOEXEC), .thread = path->thread};
	struct error err = {0};
	char *zeroes = calloc(BLOCKS, BLOCK);

	if (!zeroes || write(options.fd, zeroes, BLOCKS * BLOCK) != BLOCKS * BLOCK ||
	    blk_create(&path->blk, &options, &path->driver.mem, &err) < 0)
		core_fail("path: no disk: %s", err.message);
	free(zeroes);
	driver_attach(&path->driver, blk_device(path->blk), blk_loop(path->blk), false);
}

static void begin_disk(struct path *path)
{
	driver_start(&path->driver, VIRTIO_FEATURES_COMMON);
	for (unsigned int i = 0; i < 32; i++)
		path->buffers[i] = driver_alloc(&path->driver, 32 + BLOCK);
}

static void submit_requests(struct path *path, unsigned int batch, unsigned int round)
{
	for (unsigned int i = 0; i < batch; i++) {
		uint64_t at = path->buffers[i];
		struct virtio_blk_outhdr *header = driver_at(&path->driver, at);
		struct driver_buffer parts[] = {
			{at, 16, false}, {at + 32, BLOCK, path->way == READ}, {at + 16, 1, true}};

		header->type = path->way == READ ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
		header->sector = (round * batch + i) % BLOCKS * (BLOCK / 512);
		driver_submit_indirect(&path->driver, 0, parts, 3);
	}
	driver_kick(&path->driver, 0);
}

static bool has_link(void *arg)
{
	struct path *path = arg;

	return virtio_mmio_read(&path->driver.mmio, VIRTIO_MMIO_CONFIG + 6, 2) & 1;
}

static void open_network(struct path *path)
{
	struct net_options options = {.name = "net0", .pairs = 1, .thread = path->thread};
	struct error err = {0};
	int pair[2], size = 4 << 20;

	path->queue = path->way == SEND ? TX : RX;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
	    net_create(&path->net, &options, &path->driver.mem, &err) < 0 ||
	    net_attach(path->net, pair, 1, &err) < 0)
		core_fail("path: no network: %s", err.message);
	path->outside = pair[1];
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	driver_attach(&path->driver, net_device(path->net), net_loop(path->net), false);
}

static void begin_network(struct path *path)
{
	driver_start(&path->driver, VIRTIO_FEATURES_COMMON | 1ull << VIRTIO_NET_F_MRG_RXBUF |
					    1ull << VIRTIO_NET_F_CSUM);
	driver_until(&path->driver, has_link, path);
	for (unsigned int i = 0; i < PATH_BUFFERS; i++) {
		struct driver_buffer buffer = {driver_alloc(&path->driver, 2048), 2048, true};

		if (path->way == SEND)
			buffer = (struct driver_buffer){buffer.gpa, HEADER + FRAME, false};
		path->buffers[i] = buffer.gpa;
		memset(driver_at(&path->driver, buffer.gpa), 0, 2048);
		if (path->way == RECEIVE)
			driver_submit(&path->driver, RX, &buffer, 1);
	}
	driver_kick(&path->driver, path->queue);
}

void path_open(struct path *path, enum path_way way, struct io_thread *thread)
{
	memset(path, 0, sizeof(*path));
	driver_init(&path->driver);
	path->way = way;
	path->thread = thread;
	path->outside = -1;
	if (way == READ || way == WRITE)
		open_disk(path);
	else
		open_network(path);
}

void path_begin(struct path *path)
{
	if (path->blk)
		begin_disk(path);
	else
		begin_network(path);
}

static uint8_t frame[HEADER + FRAME];

static void submit_packets(struct path *path, unsigned int batch, unsigned int round)
{
	for (unsigned int i = 0; i < batch; i++) {
		unsigned int at = (round * batch + i) % PATH_BUFFERS;
		struct driver_buffer buffer = {path->buffers[at], HEADER + FRAME, false};

		if (path->way == SEND)
			driver_submit(&path->driver, TX, &buffer, 1);
		else if (send(path->outside, frame, sizeof(frame), 0) != sizeof(frame))
			core_fail("path: a packet could not be sent");
	}
	if (path->way == SEND)
		driver_kick(&path->driver, TX);
}

void path_submit(struct path *path, unsigned int batch, unsigned int round)
{
	if (path->blk)
		submit_requests(path, batch, round);
	else
		submit_packets(path, batch, round);
}

void path_take(struct path *path, unsigned int batch)
{
	for (unsigned int i = 0; i < batch; i++) {
		struct vring_used_elem used = driver_wait(&path->driver, path->queue);

		if (path->way == RECEIVE)
			driver_offer(&path->driver, RX, (uint16_t)used.id);
		else if (path->way == SEND &&
			 recv(path->outside, frame, sizeof(frame), 0) != sizeof(frame))
			core_fail("path: a packet is missing");
	}
}

void path_close(struct path *path)
{
	driver_detach(&path->driver);
	blk_destroy(path->blk);
	net_destroy(path->net);
	driver_destroy(&path->driver);
	if (path->outside >= 0)
		close(path->outside);
}

static void measure(const struct path_case *what)
{
	static struct path path;
	const struct virtqueue_stats *stats;
	struct virtqueue_stats before;
	char name[96];

	path_open(&path, what->way, NULL);
	path_begin(&path);
	stats = &path.driver.mmio.dev->queues[path.queue].stats;
	before = *stats;
	for (unsigned int i = 0; i < REQUESTS / what->batch; i++) {
		path_submit(&path, what->batch, i);
		path_take(&path, what->batch);
	}
	snprintf(name, sizeof(name), "%s, x%u: notifications", ways[what->way], what->batch);
	core_sample(name, "/req", (double)(stats->kicks - before.kicks) / REQUESTS);
	snprintf(name, sizeof(name), "%s, x%u: interrupts", ways[what->way], what->batch);
	core_sample(name, "/req", (double)(stats->interrupts - before.interrupts) / REQUESTS);
	driver_reset(&path.driver);
	path_close(&path);
}

static void path_round(void)
{
	for (unsigned int i = 0; i < CASES; i++)
		if (only < 0 || i == (unsigned int)only)
			measure(&cases[i]);
}

static void path_prepare(void)
{
	const char *text = getenv("CORE_PATH");

	only = text ? atoi(text) : -1;
}

const struct core_area core_path = {.name = "path", .prepare = path_prepare, .round = path_round};
