/* A disk and a NIC on one I/O thread: each works as if it were alone, and goes without the other's
 * leave. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "devices/blk.h"
#include "devices/net.h"
#include "tests/unit/driver.h"
#include "tests/unit/suites.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_net.h>

#define SECTOR	512u
#define SECTORS 64u
#define HEADER	12u
#define FRAME	64u
#define RX	0
#define TX	1

static struct io_thread thread;
static struct driver disk, nic;
static struct blk *blk;
static struct net *net;
static int outside; /* the other end of the network */
static pthread_t begun;

static void begins(void)
{
	begun = pthread_self();
}

static bool has_link(void *arg)
{
	(void)arg;
	return virtio_mmio_read(&nic.mmio, VIRTIO_MMIO_CONFIG + 6, 2) & VIRTIO_NET_S_LINK_UP;
}

static void setup(void)
{
	struct blk_options for_blk = {.name = "disk", .thread = &thread};
	struct net_options for_net = {.name = "net", .pairs = 1, .thread = &thread};
	int pair[2];

	driver_init(&disk);
	driver_init(&nic);
	ck_assert_int_eq(io_thread_init(&thread, "io", begins), 0);
	thread.loop.shared = true;
	for_blk.fd = driver_disk();
	ck_assert_int_eq(ftruncate(for_blk.fd, SECTORS * SECTOR), 0);
	ck_assert_int_eq(blk_create(&blk, &for_blk, &disk.mem, NULL), 0);
	ck_assert_int_eq(net_create(&net, &for_net, &nic.mem, NULL), 0);
	ck_assert_ptr_eq(blk_loop(blk), &thread.loop);
	ck_assert_ptr_eq(net_loop(net), &thread.loop);
	driver_attach(&disk, blk_device(blk), blk_loop(blk), false);
	driver_attach(&nic, net_device(net), net_loop(net), false);
	ck_assert(!thread.runs);
	ck_assert_int_eq(io_thread_start(&thread), 0);
	driver_start(&disk, DRIVER_FEATURES);
	driver_start(&nic, DRIVER_FEATURES | 1ull << VIRTIO_NET_F_MRG_RXBUF);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	outside = pair[1];
	ck_assert_int_eq(net_attach(net, pair, 1, NULL), 0);
	driver_until(&nic, has_link, NULL);
}

/* As a machine does it: all come to rest, then the thread ends, then they go. */
static void teardown(void)
{
	virtio_mmio_stop(&disk.mmio);
	virtio_mmio_stop(&nic.mmio);
	ck_assert(thread.runs);
	io_thread_stop(&thread);
	driver_detach(&disk);
	driver_detach(&nic);
	blk_destroy(blk);
	net_destroy(net);
	io_thread_destroy(&thread);
	driver_destroy(&disk);
	driver_destroy(&nic);
	close_fd(&outside);
}

struct request {
	uint64_t at; /* header, status, data */
	uint16_t head;
};

/* Returns a request that is in the queue and was not notified of. */
static struct request submit(uint32_t type, uint64_t sector, uint8_t fill)
{
	struct request request = {.at = driver_alloc(&disk, 32 + SECTOR)};
	struct virtio_blk_outhdr *header = driver_at(&disk, request.at);
	struct driver_buffer parts[] = {{request.at, 16, false},
					{request.at + 32, SECTOR, type == VIRTIO_BLK_T_IN},
					{request.at + 16, 1, true}};

	*header = (struct virtio_blk_outhdr){.type = type, .sector = sector};
	memset(driver_at(&disk, request.at + 16), 0xff, 1);
	memset(driver_at(&disk, request.at + 32), fill, SECTOR);
	request.head = driver_submit(&disk, 0, parts, 3);
	return request;
}

static uint8_t status_of(const struct request *request)
{
	return *(uint8_t *)driver_at(&disk, request->at + 16);
}

static void disk_works(uint8_t fill)
{
	struct request request = submit(VIRTIO_BLK_T_OUT, fill % SECTORS, fill);
	uint8_t expected[SECTOR];

	driver_run(&disk, 0, request.head);
	ck_assert_uint_eq(status_of(&request), VIRTIO_BLK_S_OK);
	request = submit(VIRTIO_BLK_T_IN, fill % SECTORS, 0);
	ck_assert_uint_eq(driver_run(&disk, 0, request.head), SECTOR + 1);
	ck_assert_uint_eq(status_of(&request), VIRTIO_BLK_S_OK);
	memset(expected, fill, SECTOR);
	ck_assert_mem_eq(driver_at(&disk, request.at + 32), expected, SECTOR);
}

static void nic_works(uint8_t fill)
{
	struct driver_buffer out = {driver_alloc(&nic, HEADER + FRAME), HEADER + FRAME, false};
	struct driver_buffer in = {driver_alloc(&nic, 2048), 2048, true};
	uint8_t got[HEADER + FRAME + 1];

	memset(driver_at(&nic, out.gpa), 0, HEADER);
	memset(driver_at(&nic, out.gpa + HEADER), fill, FRAME);
	driver_run(&nic, TX, driver_submit(&nic, TX, &out, 1));
	ck_assert_int_eq(recv(outside, got, sizeof(got), 0), HEADER + FRAME);
	ck_assert_mem_eq(got, driver_at(&nic, out.gpa), HEADER + FRAME);
	ck_assert_int_eq(send(outside, got, HEADER + FRAME, 0), HEADER + FRAME);
	ck_assert_uint_eq(driver_run(&nic, RX, driver_submit(&nic, RX, &in, 1)), HEADER + FRAME);
	ck_assert_mem_eq(driver_at(&nic, in.gpa + HEADER), got + HEADER, FRAME);
}

START_TEST(both_work_on_the_same_thread)
{
	ck_assert(pthread_equal(begun, thread.thread));
	for (unsigned int i = 0; i < 20; i++) {
		disk_works((uint8_t)i);
		nic_works((uint8_t)(i + 100));
	}
}
END_TEST

START_TEST(one_is_reset_while_the_other_works)
{
	driver_reset(&disk);
	nic_works(1);
	driver_start(&disk, DRIVER_FEATURES);
	driver_reset(&nic);
	disk_works(2);
	driver_start(&nic, DRIVER_FEATURES | 1ull << VIRTIO_NET_F_MRG_RXBUF);
	nic_works(3);
	disk_works(4);
}
END_TEST

static void limit_writes(uint64_t a_second)
{
	const struct rate none[2] = {{0}, {0}}, few[2] = {{0}, {a_second, a_second}};

	ck_assert_int_eq(blk_limit(blk, none, few, NULL), 0);
}

START_TEST(requests_that_wait_hold_nobody_up)
{
	struct request requests[3];

	limit_writes(1);
	for (unsigned int i = 0; i < 3; i++)
		requests[i] = submit(VIRTIO_BLK_T_OUT, i, (uint8_t)i);
	driver_kick(&disk, 0);
	driver_wait(&disk, 0);
	nic_works(1);
	ck_assert_uint_eq(status_of(&requests[2]), 0xff);
	/* Both come to rest, the disk without having waited. */
	virtio_mmio_hold(&disk.mmio);
	virtio_mmio_hold(&nic.mmio);
	for (unsigned int i = 0; i < 3; i++)
		ck_assert_uint_eq(status_of(&requests[i]), VIRTIO_BLK_S_OK);
	virtio_mmio_release(&disk.mmio);
	virtio_mmio_release(&nic.mmio);
	driver_wait(&disk, 0);
	driver_wait(&disk, 0);
	limit_writes(0);
	disk_works(5);
	nic_works(6);
}
END_TEST

/* What still waits when the machine ends comes to nothing, and nothing waits for it. */
START_TEST(the_end_comes_with_requests_that_wait)
{
	struct request first, second;

	limit_writes(1);
	first = submit(VIRTIO_BLK_T_OUT, 0, 1);
	second = submit(VIRTIO_BLK_T_OUT, 1, 2);
	driver_kick(&disk, 0);
	driver_wait(&disk, 0);
	ck_assert_uint_eq(status_of(&first), VIRTIO_BLK_S_OK);
	virtio_mmio_stop(&disk.mmio);
	ck_assert_uint_eq(status_of(&second), VIRTIO_BLK_S_IOERR);
	nic_works(1);
}
END_TEST

Suite *io_thread_suite(void)
{
	Suite *suite = suite_create("io_thread");
	TCase *tcase = tcase_create("io_thread");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, both_work_on_the_same_thread);
	tcase_add_test(tcase, one_is_reset_while_the_other_works);
	tcase_add_test(tcase, requests_that_wait_hold_nobody_up);
	tcase_add_test(tcase, the_end_comes_with_requests_that_wait);
	suite_add_tcase(suite, tcase);
	return suite;
}
