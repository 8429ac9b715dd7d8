/*
 * DPDK's vhost library, driven within this process: it listens on a Unix socket, and our own
 * vhost-user front end (devices/vhost_user.h) hands it the memory and the rings.
 */
#include "bench/core_queue.h"

#include <linux/virtio_net.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/core.h"
#include "common/cleanup.h"
#include "devices/vhost_user.h"

#ifdef WITH_DPDK
#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_vhost.h>

#define POOL_SIZE  1023
#define POOL_CACHE 250
#define WAIT_MS	   5000

struct dpdk_port {
	struct vhost_user front_end;
	char path[64];
	int fd;
	int event_fds[4];
};

static struct rte_mempool *pool;
static _Atomic int device = -1; /* the library's number of what is connected */

static int device_came(int vid)
{
	atomic_store(&device, vid);
	return 0;
}

static void device_went(int vid)
{
	(void)vid;
	atomic_store(&device, -1);
}

static const struct rte_vhost_device_ops device_ops = {
	.new_device = device_came,
	.destroy_device = device_went,
};

const char *dpdk_prepare(void)
{
	/* Without huge pages, devices and files; and the thread is not nailed to a CPU. */
	static char *args[] = {
		"core", "--no-huge", "--no-pci", "--no-shconf",	   "-m",
		"64",	"--lcores",  "0@(0-1)",	 "--no-telemetry", "--log-level=error",
	};

	if (rte_eal_init(sizeof(args) / sizeof(args[0]), args) < 0)
		return "its environment does not start";
	pool = rte_pktmbuf_pool_create("core", POOL_SIZE, POOL_CACHE, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
				       SOCKET_ID_ANY);
	return pool ? NULL : "no pool of buffers";
}

static void wait_for(bool there)
{
	for (int ms = 0; (atomic_load(&device) >= 0) != there; ms++) {
		if (ms == WAIT_MS)
			core_fail("DPDK: the device does not %s", there ? "come" : "go");
		usleep(1000);
	}
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		core_fail("DPDK: its socket cannot be connected");
	return fd;
}

static void listen_at(const char *path, bool packed)
{
	uint64_t unwanted = packed ? 0 : 1ull << VIRTIO_F_RING_PACKED;

	if (rte_vhost_driver_register(path, RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS) < 0 ||
	    rte_vhost_driver_disable_features(path, unwanted) < 0 ||
	    rte_vhost_driver_callback_register(path, &device_ops) < 0 ||
	    rte_vhost_driver_start(path) < 0)
		core_fail("DPDK: it does not listen");
}

struct dpdk_port *dpdk_open(struct driver *driver, struct ring rings[2], bool packed)
{
	uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
			    (packed ? 1ull << VIRTIO_F_RING_PACKED : 0);
	struct dpdk_port *port = calloc(1, sizeof(*port));
	struct error err = {0};
	int ret;

	if (!port)
		core_fail("DPDK: out of memory");
	snprintf(port->path, sizeof(port->path), "/tmp/bulkhead-core-%d", getpid());
	listen_at(port->path, packed);
	port->fd = connect_to(port->path);
	ret = vhost_user_init(&port->front_end, port->fd, "DPDK", &err);
	if (ret == 0)
		ret = vhost_user_open(&port->front_end, 2, 0, &err);
	if (ret == 0)
		ret = vhost_user_configure(&port->front_end, features, &driver->mem, &err);
	for (unsigned int i = 0; i < 4; i++)
		port->event_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (unsigned int i = 0; ret == 0 && i < 2; i++) {
		struct virtqueue vq = {.state = rings[i].state};

		ret = vhost_user_vring_start(&port->front_end, i, &vq, port->event_fds[2 * i],
					     port->event_fds[2 * i + 1], &err);
	}
	if (ret < 0)
		core_fail("%s", err.message);
	wait_for(true);
	return port;
}

void dpdk_close(struct dpdk_port *port)
{
	close(port->fd);
	wait_for(false);
	rte_vhost_driver_unregister(port->path);
	for (unsigned int i = 0; i < 4; i++)
		close_fd(&port->event_fds[i]);
	free(port);
}

static double serve_from_guest(const struct ring_case *what)
{
	struct rte_mbuf *packets[RING_SIZE];
	uint64_t start = core_now(), end;
	uint16_t count = 0;

	while (count < RING_SIZE) {
		uint16_t got = rte_vhost_dequeue_burst(atomic_load(&device), 1, pool,
						       packets + count, (uint16_t)what->batch);

		if (!got)
			core_fail("DPDK: it takes nothing");
		count = (uint16_t)(count + got);
	}
	end = core_now();
	rte_pktmbuf_free_bulk(packets, count);
	return (double)(end - start);
}

static double serve_to_guest(const struct ring_case *what)
{
	struct rte_mbuf *packets[RING_SIZE];
	uint64_t start, end;
	uint16_t count = 0;

	if (rte_pktmbuf_alloc_bulk(pool, packets, RING_SIZE) < 0)
		core_fail("DPDK: its pool is empty");
	for (unsigned int i = 0; i < RING_SIZE; i++)
		if (!rte_pktmbuf_append(packets[i], RING_PACKET_LEN))
			core_fail("DPDK: a buffer is too small");
	start = core_now();
	while (count < RING_SIZE) {
		uint16_t put = rte_vhost_enqueue_burst(atomic_load(&device), 0, packets + count,
						       (uint16_t)what->batch);

		if (!put)
			core_fail("DPDK: it gives nothing");
		count = (uint16_t)(count + put);
	}
	end = core_now();
	rte_pktmbuf_free_bulk(packets, count);
	return (double)(end - start);
}

double dpdk_serve(struct dpdk_port *port, const struct ring_case *what)
{
	(void)port;
	return what->to_guest ? serve_to_guest(what) : serve_from_guest(what);
}

#else

const char *dpdk_prepare(void)
{
	return "built without it (libdpdk-dev)";
}

struct dpdk_port *dpdk_open(struct driver *driver, struct ring rings[2], bool packed)
{
	(void)driver;
	(void)rings;
	(void)packed;
	core_fail("built without DPDK");
}

void dpdk_close(struct dpdk_port *port)
{
	(void)port;
}

double dpdk_serve(struct dpdk_port *port, const struct ring_case *what)
{
	(void)port;
	(void)what;
	return 0;
}

#endif
