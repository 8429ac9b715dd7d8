/*
 * The whole way of a request through a device: from the notification by the device's thread, its
 * back end and back to the interrupt, system calls among it. In batches: so many requests, one
 * notification, and all of them taken before the next. The disk is a file in the page cache, the
 * network a socket pair that keeps packets apart, or a tap, to which packets go in one system call
 * and, beside it, one by one. For bench/instructions, which counts what the device's thread
 * executes, and for the pictures in docs/.
 */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/core_path.h"
#include "common/clock.h"
#include "devices/write_ring.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_net.h>

#define REQUESTS 9600u /* of each case: a multiple of every batch */
#define BLOCK	 4096u
#define BLOCKS	 256u
#define FRAME	 1514u
#define HEADER	 12u
#define RX	 0
#define TX	 1

static const char *const ways[] = {"blk, read 4k",
				   "blk, write 4k",
				   "net, from guest",
				   "net, to guest",
				   "net, to a tap, one by one",
				   "net, to a tap"};

#define BATCHES(way)        \
	{way, 1}, {way, 8}, \
	{                   \
		way, 32     \
	}

static const struct path_case {
	enum path_way way;
	unsigned int batch;
} cases[] = {BATCHES(READ),    BATCHES(WRITE),	    BATCHES(SEND),
	     BATCHES(RECEIVE), BATCHES(TAP_SINGLY), BATCHES(TAP)};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static int only = -1; /* CORE_PATH=N: this case alone */
static bool has_tap;

static void open_disk(struct path *path)
{
	struct blk_options options = {.name = "disk0", .fd = driver_disk(), .thread = path->thread};
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

static const char tap_name[] = "bulkhead-core";

/* In a network namespace that this thread has for itself (path_prepare). */
static int open_tap(void)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC),
	    any = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(request.ifr_name, tap_name, sizeof(tap_name));
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
		core_fail("path: no tap");
	request.ifr_flags = IFF_UP;
	if (ioctl(any, SIOCSIFFLAGS, &request) < 0)
		core_fail("path: the tap does not come up");
	close(any);
	return fd;
}

static int open_sockets(struct path *path)
{
	int pair[2], size = 4 << 20;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		core_fail("path: no sockets");
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	path->outside = pair[1];
	return pair[0];
}

static void open_network(struct path *path)
{
	struct net_options options = {.name = "net0", .pairs = 1, .thread = path->thread};
	struct error err = {0};
	int fd = path->way >= TAP_SINGLY ? open_tap() : open_sockets(path);

	path->queue = path->way == RECEIVE ? RX : TX;
	if (net_create(&path->net, &options, &path->driver.mem, &err) < 0 ||
	    net_attach(path->net, &fd, 1, &err) < 0)
		core_fail("path: no network: %s", err.message);
	driver_attach(&path->driver, net_device(path->net), net_loop(path->net), false);
}

static void begin_network(struct path *path)
{
	driver_start(&path->driver, VIRTIO_FEATURES_COMMON | 1ull << VIRTIO_NET_F_MRG_RXBUF |
					    1ull << VIRTIO_NET_F_CSUM);
	driver_until(&path->driver, has_link, path);
	for (unsigned int i = 0; i < PATH_BUFFERS; i++) {
		struct driver_buffer buffer = {driver_alloc(&path->driver, 2048), 2048, true};

		if (path->queue == TX)
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

		if (path->queue == TX)
			driver_submit(&path->driver, TX, &buffer, 1);
		else if (send(path->outside, frame, sizeof(frame), 0) != sizeof(frame))
			core_fail("path: a packet could not be sent");
	}
	if (path->queue == TX)
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

/* Of all threads but this one: the device's. */
static uint64_t others_cpu_time(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID) - core_cpu_time();
}

static void start_thread(struct io_thread *thread, bool singly)
{
	if (singly) {
		write_ring_destroy(thread->writes);
		thread->writes = NULL;
	}
	if (io_thread_start(thread) < 0)
		core_fail("path: no thread");
}

static void measure(const struct path_case *what)
{
	static struct path path;
	struct io_thread thread;
	const struct virtqueue_stats *stats;
	struct virtqueue_stats before;
	uint64_t ns;
	char name[96];

	if (io_thread_init(&thread, "io", NULL) < 0)
		core_fail("path: no event loop");
	path_open(&path, what->way, &thread);
	start_thread(&thread, what->way == TAP_SINGLY);
	path_begin(&path);
	stats = &path.driver.mmio.dev->queues[path.queue].stats;
	before = *stats;
	ns = others_cpu_time();
	for (unsigned int i = 0; i < REQUESTS / what->batch; i++) {
		path_submit(&path, what->batch, i);
		path_take(&path, what->batch);
	}
	ns = others_cpu_time() - ns;
	snprintf(name, sizeof(name), "%s, x%u: notifications", ways[what->way], what->batch);
	core_sample(name, "/req", (double)(stats->kicks - before.kicks) / REQUESTS);
	snprintf(name, sizeof(name), "%s, x%u: interrupts", ways[what->way], what->batch);
	core_sample(name, "/req", (double)(stats->interrupts - before.interrupts) / REQUESTS);
	snprintf(name, sizeof(name), "%s, x%u: the thread's time", ways[what->way], what->batch);
	core_sample(name, "ns/req", (double)ns / REQUESTS);
	driver_reset(&path.driver);
	io_thread_destroy(&thread);
	path_close(&path);
}

static void path_round(void)
{
	for (unsigned int i = 0; i < CASES; i++)
		if ((only < 0 || i == (unsigned int)only) && (has_tap || cases[i].way < TAP_SINGLY))
			measure(&cases[i]);
}

/* Nobody else's packets come by a namespace of its own, and nothing is left of it. */
static void path_prepare(void)
{
	const char *text = getenv("CORE_PATH");

	only = text ? atoi(text) : -1;
	has_tap = access("/dev/net/tun", R_OK | W_OK) == 0 && unshare(CLONE_NEWNET) == 0;
	if (!has_tap)
		fprintf(stderr, "core: no rows of a tap: root can have one, with /dev/net/tun\n");
}

const struct core_area core_path = {.name = "path", .prepare = path_prepare, .round = path_round};
