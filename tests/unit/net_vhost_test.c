/* A NIC behind the host's own vhost-net and a tap. Nothing is tested where there is none. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "devices/net.h"
#include "tests/unit/driver.h"
#include "tests/unit/suites.h"
#include "tests/unit/tap.h"

#include <linux/virtio_net.h>

#define RX	 0
#define TX	 1
#define HEADER	 12u
#define FRAME	 60u
#define BUFFER	 1536u
#define BUFFERS	 32u
#define QUIET_MS 100
#define OWN	 (DRIVER_FEATURES | (net_device(net)->features & 0xffffffff))

static struct driver driver;
static struct net *net;
static int tap, outside;
static uint8_t number; /* of the frame sent last, in it */

static int open_vhost(void)
{
	return open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
}

static void setup(void)
{
	struct net_options options = {.name = "net", .pairs = 1};

	tap_enter_namespace();
	driver_init(&driver);
	ck_assert_int_eq(net_create(&net, &options, &driver.mem, NULL), 0);
	driver_attach(&driver, net_device(net), net_loop(net), false);
	tap = tap_open();
	outside = tap_open_outside();
}

static void teardown(void)
{
	driver_detach(&driver);
	net_destroy(net);
	driver_destroy(&driver);
	close_fd(&outside);
}

/* Once the link is up, vhost-net serves what is there of a driver. */
static bool link_is_up(void *ctx)
{
	(void)ctx;
	return virtio_mmio_read(&driver.mmio, VIRTIO_MMIO_CONFIG + 6, 2) & VIRTIO_NET_S_LINK_UP;
}

static bool link_is_down(void *ctx)
{
	return !link_is_up(ctx);
}

static void attach(void)
{
	int fds[2] = {tap, open_vhost()};

	ck_assert_int_ge(fds[1], 0);
	ck_assert_int_eq(net_attach(net, fds, 2, NULL), 0);
	driver_until(&driver, link_is_up, NULL);
}

static void offer_buffers(void)
{
	for (unsigned int i = 0; i < BUFFERS; i++) {
		struct driver_buffer buffer = {driver_alloc(&driver, BUFFER), BUFFER, true};

		driver_submit(&driver, RX, &buffer, 1);
	}
	driver_kick(&driver, RX);
}

static void start(void)
{
	driver_start(&driver, OWN);
	offer_buffers();
}

static void make_frame(uint8_t *frame)
{
	memset(frame, 0, HEADER + FRAME);
	memset(frame + HEADER, 0xff, 6);
	frame[HEADER + 6] = 2;
	frame[HEADER + 12] = TAP_ETHERTYPE >> 8;
	frame[HEADER + 13] = TAP_ETHERTYPE & 0xff;
	frame[HEADER + 14] = ++number;
}

static uint16_t submit_frame(void)
{
	struct driver_buffer buffer = {driver_alloc(&driver, HEADER + FRAME), HEADER + FRAME,
				       false};

	make_frame(driver_at(&driver, buffer.gpa));
	return driver_submit(&driver, TX, &buffer, 1);
}

static void comes_out(void)
{
	struct pollfd fd = {.fd = outside, .events = POLLIN};
	uint8_t frame[FRAME + 1];

	ck_assert_int_eq(poll(&fd, 1, DRIVER_TIMEOUT_MS), 1);
	ck_assert_int_eq(recv(outside, frame, sizeof(frame), 0), FRAME);
	ck_assert_uint_eq(frame[14], number);
}

static void frame_goes_out(void)
{
	driver_run(&driver, TX, submit_frame());
	comes_out();
}

static void send_in(void)
{
	uint8_t frame[HEADER + FRAME];

	make_frame(frame);
	ck_assert_int_eq(send(outside, frame + HEADER, FRAME, 0), FRAME);
}

static void frame_comes_in(void)
{
	const uint8_t *frame;

	send_in();
	/* Some may have waited in the tap. */
	do {
		struct vring_used_elem used = driver_wait(&driver, RX);

		ck_assert_uint_eq(used.len, HEADER + FRAME);
		frame = driver_at(&driver, driver.queues[RX].desc[used.id].addr);
		/* num_buffers: 5.1.6.4. */
		ck_assert_uint_eq(frame[10], 1);
		driver_offer(&driver, RX, (uint16_t)used.id);
		driver_kick(&driver, RX);
	} while (frame[HEADER + 14] != number);
}

/* What goes past the device it cannot count. */
static bool vhost_serves(void)
{
	uint64_t before = net_device(net)->queues[TX].stats.requests;

	frame_goes_out();
	return net_device(net)->queues[TX].stats.requests == before;
}

static void works(void)
{
	ck_assert(vhost_serves());
	for (int i = 0; i < 3; i++) {
		frame_comes_in();
		frame_goes_out();
	}
}

START_TEST(frames_go_both_ways_past_us)
{
	attach();
	/* It has none of them, and the driver is not offered any. */
	ck_assert(!(net_device(net)->features & 1ull << VIRTIO_F_RING_PACKED));
	start();
	works();
}
END_TEST

START_TEST(it_comes_to_a_driver_that_is_there)
{
	start();
	attach();
	works();
}
END_TEST

START_TEST(with_packed_rings_it_stays_out)
{
	driver_start(&driver, OWN | 1ull << VIRTIO_F_RING_PACKED);
	attach();
	ck_assert(!vhost_serves());
}
END_TEST

START_TEST(rates_put_it_out_and_nothing_is_lost)
{
	const struct rate rates[2] = {{1 << 30, 0}, {0, 0}}, none[2] = {{0, 0}, {0, 0}};

	attach();
	start();
	works();
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(net_limit(net, rates, rates, NULL), 0);
		frame_comes_in();
		while (vhost_serves())
			;
		frame_comes_in();
		ck_assert_int_eq(net_limit(net, none, none, NULL), 0);
		frame_comes_in();
		while (!vhost_serves())
			;
		works();
	}
}
END_TEST

/* The rings are not written to, whatever comes and is offered. */
static void rests(void)
{
	uint8_t before[DRIVER_MEMORY_LEN / 64];

	for (int i = 0; i < 4; i++)
		send_in();
	submit_frame();
	memcpy(before, driver.bytes, sizeof(before));
	driver_kick(&driver, TX);
	driver_kick(&driver, RX);
	poll(NULL, 0, QUIET_MS);
	ck_assert_mem_eq(before, driver.bytes, sizeof(before));
}

START_TEST(a_reset_ends_it_before_it_returns)
{
	attach();
	for (int i = 0; i < 20; i++) {
		driver_forget(&driver);
		start();
		if (i == 0 || i == 19)
			works();
		for (int j = 0; j < 4; j++) {
			submit_frame();
			send_in();
		}
		driver_kick(&driver, TX);
		driver_reset(&driver);
		if (i % 5 == 0)
			rests();
		while (recv(outside, &(uint8_t[FRAME]){0}, FRAME, MSG_DONTWAIT) > 0)
			;
	}
}
END_TEST

START_TEST(it_rests_with_the_machine)
{
	attach();
	start();
	works();
	virtio_mmio_hold(&driver.mmio);
	rests();
	virtio_mmio_release(&driver.mmio);
	comes_out();
	for (int i = 0; i < 5; i++)
		driver_wait(&driver, i ? RX : TX);
	works();
}
END_TEST

static bool is_broken(void *ctx)
{
	(void)ctx;
	return driver_read(&driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static void lie_of_index(void)
{
	driver.queues[TX].avail->idx = (uint16_t)(driver.queues[TX].avail->idx + 1000);
}

static void lie_of_head(void)
{
	driver_offer(&driver, TX, 0xfff0);
}

static void lie_of_address(void)
{
	uint16_t head = submit_frame();

	/* Our own memory, of which the guest has no address. */
	driver.queues[TX].desc[head].addr = (uintptr_t)driver.bytes;
}

static void lie_of_length(void)
{
	uint16_t head = submit_frame();

	driver.queues[TX].desc[head].addr = DRIVER_MEMORY_GPA + DRIVER_MEMORY_LEN - 8;
}

static void lie_of_next(void)
{
	uint16_t head = submit_frame();

	driver.queues[TX].desc[head].flags |= VRING_DESC_F_NEXT;
	driver.queues[TX].desc[head].next = head;
}

static void lie_of_indirect(void)
{
	uint16_t head = submit_frame();

	driver.queues[TX].desc[head].flags |= VRING_DESC_F_INDIRECT;
	driver.queues[TX].desc[head].addr = DRIVER_MEMORY_GPA + DRIVER_MEMORY_LEN;
	driver.queues[TX].desc[head].len = 16;
}

static void (*const lies[])(void) = {lie_of_index,  lie_of_head, lie_of_address,
				     lie_of_length, lie_of_next, lie_of_indirect};

START_TEST(a_ring_that_lies_breaks_the_device_alone)
{
	attach();
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		driver_forget(&driver);
		start();
		works();
		lies[i]();
		driver_kick(&driver, TX);
		driver_until(&driver, is_broken, NULL);
		rests();
		driver_reset(&driver);
	}
	driver_forget(&driver);
	start();
	works();
}
END_TEST

START_TEST(a_tap_that_goes_takes_the_link_with_it)
{
	attach();
	start();
	works();
	ck_assert_int_eq(system("ip link del test0"), 0);
	driver_until(&driver, link_is_down, NULL);
}
END_TEST

/* The kernel then says that a ring is broken, and keeps what it was about to send. */
START_TEST(a_tap_that_goes_while_it_sends_does_too)
{
	attach();
	start();
	works();
	ck_assert_int_eq(system("ip link del test0"), 0);
	for (int i = 0; i < 3; i++)
		submit_frame();
	driver_kick(&driver, TX);
	for (int i = 0; i < 3; i++)
		driver_wait(&driver, TX);
	driver_until(&driver, link_is_down, NULL);
	ck_assert(!is_broken(NULL));
	/* Frames to nowhere come back too. */
	driver_run(&driver, TX, submit_frame());
}
END_TEST

START_TEST(one_that_is_in_use_is_refused)
{
	struct error err = {0};
	int fds[2] = {tap, open_vhost()};

	/* VHOST_SET_OWNER */
	ck_assert_int_eq(ioctl(fds[1], _IO(0xAF, 0x01)), 0);
	ck_assert_int_eq(net_attach(net, fds, 2, &err), -EBUSY);
	ck_assert_str_eq(err.message, "net: vhost-net: owner: Device or resource busy");
	error_clear(&err);
	ck_assert_int_ge(fcntl(fds[0], F_GETFD), 0);
	ck_assert_int_ge(fcntl(fds[1], F_GETFD), 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(a_back_end_that_it_cannot_have_is_served_here)
{
	int pair[2], fds[2] = {-1, open_vhost()};
	uint8_t frame[HEADER + FRAME];

	/* Neither a tap nor a packet socket. */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	fds[0] = pair[1];
	start();
	ck_assert_int_eq(net_attach(net, fds, 2, NULL), 0);
	driver_until(&driver, link_is_up, NULL);
	for (int i = 0; i < 3; i++) {
		driver_run(&driver, TX, submit_frame());
		ck_assert_int_eq(recv(pair[0], frame, sizeof(frame), 0), HEADER + FRAME);
		ck_assert_uint_eq(frame[HEADER + 14], number);
	}
	close(pair[0]);
	close(tap);
}
END_TEST

Suite *net_vhost_suite(void)
{
	Suite *suite = suite_create("net_vhost");
	TCase *tcase = tcase_create("vhost-net");
	int fd = open_vhost();

	suite_add_tcase(suite, tcase);
	if (fd < 0)
		return suite;
	close(fd);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, frames_go_both_ways_past_us);
	tcase_add_test(tcase, it_comes_to_a_driver_that_is_there);
	tcase_add_test(tcase, with_packed_rings_it_stays_out);
	tcase_add_test(tcase, rates_put_it_out_and_nothing_is_lost);
	tcase_add_test(tcase, a_reset_ends_it_before_it_returns);
	tcase_add_test(tcase, it_rests_with_the_machine);
	tcase_add_test(tcase, a_ring_that_lies_breaks_the_device_alone);
	tcase_add_test(tcase, a_tap_that_goes_takes_the_link_with_it);
	tcase_add_test(tcase, a_tap_that_goes_while_it_sends_does_too);
	tcase_add_test(tcase, one_that_is_in_use_is_refused);
	tcase_add_test(tcase, a_back_end_that_it_cannot_have_is_served_here);
	return suite;
}
