/* Packets from the guest to a tap, which go there in bursts. Nothing is tested where there is none.
 */
#include <check.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "devices/net.h"
#include "tests/unit/driver.h"
#include "tests/unit/suites.h"
#include "tests/unit/tap.h"

#include <linux/virtio_net.h>

#define TX	 1
#define HEADER	 12u
#define OWN	 (DRIVER_FEATURES | (net_device(net)->features & 0xffffffff))
#define OVERHEAD 14u /* of a frame: addresses and type */

static struct driver driver;
static struct net *net;
static int outside;

static bool link_is_up(void *ctx)
{
	(void)ctx;
	return virtio_mmio_read(&driver.mmio, VIRTIO_MMIO_CONFIG + 6, 2) & VIRTIO_NET_S_LINK_UP;
}

static void setup(void)
{
	struct net_options options = {.name = "net", .pairs = 1};
	int tap;

	tap_enter_namespace();
	driver_init(&driver);
	ck_assert_int_eq(net_create(&net, &options, &driver.mem, NULL), 0);
	driver_attach(&driver, net_device(net), net_loop(net), false);
	tap = tap_open();
	outside = tap_open_outside();
	driver_start(&driver, OWN);
	ck_assert_int_eq(net_attach(net, &tap, 1, NULL), 0);
	driver_until(&driver, link_is_up, NULL);
}

static void teardown(void)
{
	driver_detach(&driver);
	net_destroy(net);
	driver_destroy(&driver);
	close_fd(&outside);
}

/* In as many parts of a chain, the first of them the header. Returns that. */
static void *submit_frame(unsigned int number, uint32_t len, unsigned int parts)
{
	uint64_t gpa = driver_alloc(&driver, HEADER + len);
	struct driver_buffer buffers[8] = {{gpa, HEADER, false}};
	uint8_t *frame = (uint8_t *)driver_at(&driver, gpa) + HEADER;
	uint32_t at = 0;

	memset(frame - HEADER, 0, HEADER + len);
	memset(frame, 0xff, 6);
	frame[6] = 2;
	frame[12] = TAP_ETHERTYPE >> 8;
	frame[13] = TAP_ETHERTYPE & 0xff;
	frame[14] = (uint8_t)(number >> 8);
	frame[15] = (uint8_t)number;
	for (unsigned int i = 1; i < parts; i++, at += len / parts)
		buffers[i] = (struct driver_buffer){gpa + HEADER + at,
						    i + 1 < parts ? len / parts : len - at, false};
	if (parts == 1)
		buffers[0].len += len;
	driver_submit(&driver, TX, buffers, parts);
	return frame - HEADER;
}

static void comes_out(unsigned int number, uint32_t len)
{
	struct pollfd fd = {.fd = outside, .events = POLLIN};
	uint8_t frame[2048];

	ck_assert_int_eq(poll(&fd, 1, DRIVER_TIMEOUT_MS), 1);
	ck_assert_int_eq(recv(outside, frame, sizeof(frame), 0), (ssize_t)len);
	ck_assert_uint_eq(frame[14] << 8 | frame[15], number);
}

static void nothing_else_comes_out(void)
{
	uint8_t byte;

	ck_assert_int_eq(recv(outside, &byte, 1, MSG_DONTWAIT), -1);
}

static uint32_t len_of(unsigned int number)
{
	return 60 + number * 37 % 1400;
}

static void work_is_done(unsigned int count)
{
	driver_kick(&driver, TX);
	for (unsigned int i = 0; i < count; i++)
		driver_wait(&driver, TX);
}

START_TEST(bursts_of_all_lengths_come_out_in_their_order)
{
	static const unsigned int bursts[] = {1, 2, 8, 31, 32, 33, 50};
	unsigned int number = 0;

	for (unsigned int i = 0; i < sizeof(bursts) / sizeof(bursts[0]); i++) {
		unsigned int first = number;

		for (; number < first + bursts[i]; number++)
			submit_frame(number, len_of(number), 1 + number % 4);
		work_is_done(bursts[i]);
		for (unsigned int at = first; at < number; at++)
			comes_out(at, len_of(at));
	}
	nothing_else_comes_out();
}
END_TEST

/* What is too short is not sent, and a header that makes no sense is refused by the tap. */
START_TEST(what_is_no_packet_costs_the_others_nothing)
{
	for (unsigned int bad = 0; bad < 16; bad++) {
		for (unsigned int i = 0; i < 8; i++) {
			struct virtio_net_hdr *header;

			if (i == bad % 8 && bad < 8) {
				submit_frame(i, OVERHEAD - 1, 1);
				continue;
			}
			header = submit_frame(i, 100 + i, 1);
			if (i == bad % 8)
				header->gso_type = 0x7f;
		}
		work_is_done(8);
		for (unsigned int i = 0; i < 8; i++)
			if (i != bad % 8)
				comes_out(i, 100 + i);
	}
	nothing_else_comes_out();
}
END_TEST

START_TEST(the_machine_rests_and_the_driver_resets_between_bursts)
{
	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < 40; i++)
			submit_frame(i, 60, 2);
		driver_kick(&driver, TX);
		virtio_mmio_hold(&driver.mmio);
		virtio_mmio_release(&driver.mmio);
		for (unsigned int i = 0; i < 40; i++) {
			driver_wait(&driver, TX);
			comes_out(i, 60);
		}
		driver_reset(&driver);
		driver_start(&driver, OWN);
	}
}
END_TEST

Suite *net_tap_suite(void)
{
	Suite *suite = suite_create("net_tap");
	TCase *tcase = tcase_create("bursts");

	suite_add_tcase(suite, tcase);
	if (!tap_is_possible())
		return suite;
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, bursts_of_all_lengths_come_out_in_their_order);
	tcase_add_test(tcase, what_is_no_packet_costs_the_others_nothing);
	tcase_add_test(tcase, the_machine_rests_and_the_driver_resets_between_bursts);
	return suite;
}
