#include <check.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "devices/net.h"
#include "tests/unit/driver.h"
#include "tests/unit/suites.h"

#include <linux/virtio_net.h>

#define PAIRS	  2
#define CONTROL	  (2 * PAIRS)
#define HEADER	  12u
#define BUFFER	  1536u
#define FRAME_MAX 65553u
#define MERGEABLE (1ull << VIRTIO_NET_F_MRG_RXBUF)
#define ALL	  (DRIVER_FEATURES | (net_device(net)->features & 0xffffffff))

static struct driver driver;
static struct net *net;
static int outside[PAIRS];		      /* the other ends of the back end */
static uint8_t frame[HEADER + FRAME_MAX + 1]; /* one byte more than there may be */
static uint8_t got[HEADER + FRAME_MAX + 16];

static void create(unsigned int pairs, bool plain)
{
	struct net_options options = {.name = "net", .index = 3, .pairs = pairs, .plain = plain};

	outside[0] = outside[1] = -1;
	driver_init(&driver);
	ck_assert_int_eq(net_create(&net, &options, &driver.mem, NULL), 0);
	driver_attach(&driver, net_device(net), net_loop(net), false);
	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = i < HEADER ? 0 : (uint8_t)(i * 7 + i / 256);
}

static void setup(void)
{
	create(PAIRS, false);
}

static void setup_plain(void)
{
	create(1, true);
}

static void teardown(void)
{
	driver_detach(&driver);
	net_destroy(net);
	driver_destroy(&driver);
	close_fd(&outside[0]);
	close_fd(&outside[1]);
}

/* Sockets that keep packets apart stand in for a tap's queues. */
static void attach(unsigned int count, int type)
{
	int fds[PAIRS], pair[2], size = 1 << 20;

	for (unsigned int i = 0; i < count; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
		close_fd(&outside[i]);
		outside[i] = pair[0];
		fds[i] = pair[1];
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	}
	ck_assert_int_eq(net_attach(net, fds, count, NULL), 0);
}

static bool link_is(void *up)
{
	uint16_t status = (uint16_t)virtio_mmio_read(&driver.mmio, VIRTIO_MMIO_CONFIG + 6, 2);

	return (status & VIRTIO_NET_S_LINK_UP) == (up ? VIRTIO_NET_S_LINK_UP : 0);
}

static void await_link(bool up)
{
	driver_until(&driver, link_is, up ? &driver : NULL);
}

static void offer_buffers(unsigned int queue, unsigned int count, uint32_t len, uint64_t *gpas)
{
	for (unsigned int i = 0; i < count; i++) {
		struct driver_buffer buffer = {driver_alloc(&driver, len), len, true};

		gpas[i] = buffer.gpa;
		driver_submit(&driver, queue, &buffer, 1);
	}
	driver_kick(&driver, queue);
}

/* Waits for a packet of len bytes in buffers that came in this order; returns how many it took. */
static unsigned int receive(unsigned int queue, const uint64_t *gpas, size_t len)
{
	struct vring_used_elem used = driver_wait(&driver, queue);
	const struct virtio_net_hdr_mrg_rxbuf *header = driver_at(&driver, gpas[0]);
	unsigned int count = header->num_buffers;
	size_t at = used.len;

	memcpy(got, driver_at(&driver, gpas[0]), used.len);
	for (unsigned int i = 1; i < count; i++) {
		/* All of them are there at once. */
		ck_assert(driver_collect(&driver, queue, &used));
		ck_assert_uint_le(at + used.len, sizeof(got));
		memcpy(got + at, driver_at(&driver, gpas[i]), used.len);
		at += used.len;
	}
	ck_assert_uint_eq(at, len);
	ck_assert_mem_eq(got + HEADER, frame + HEADER, len - HEADER);
	return count;
}

static void send_outside(int fd, size_t len)
{
	ck_assert_int_eq(send(fd, frame, len, 0), (ssize_t)len);
}

static uint16_t submit_frame(unsigned int queue, uint32_t len)
{
	uint64_t gpa = driver_alloc(&driver, len);
	struct driver_buffer parts[2] = {{gpa, HEADER, false}, {gpa + HEADER, len - HEADER, false}};

	memcpy(driver_at(&driver, gpa), frame, len);
	return driver_submit(&driver, queue, parts, 2);
}

static size_t recv_outside(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	ssize_t len;

	ck_assert_int_eq(poll(&ready, 1, DRIVER_TIMEOUT_MS), 1);
	len = recv(fd, got, sizeof(got), 0);
	ck_assert_int_gt(len, 0);
	return (size_t)len;
}

static uint8_t control(uint8_t class, uint8_t command, const void *data, uint32_t len)
{
	uint64_t gpa = driver_alloc(&driver, 2 + len + 1);
	struct driver_buffer parts[3] = {
		{gpa, 2, false}, {gpa + 2, len, false}, {gpa + 2 + len, 1, true}};
	uint8_t *bytes = driver_at(&driver, gpa);

	bytes[0] = class;
	bytes[1] = command;
	if (len)
		memcpy(bytes + 2, data, len);
	bytes[2 + len] = 0xee;
	driver_run(&driver, CONTROL, driver_submit(&driver, CONTROL, parts, 3));
	return bytes[2 + len];
}

START_TEST(the_link_comes_and_goes_with_the_back_end)
{
	uint8_t mac[6], expected[6] = {2, 'b', 'k', 0, 0, 3};
	uint32_t generation;

	driver_start(&driver, ALL);
	for (unsigned int i = 0; i < 6; i++)
		mac[i] = (uint8_t)virtio_mmio_read(&driver.mmio, VIRTIO_MMIO_CONFIG + i, 1);
	ck_assert_mem_eq(mac, expected, 6);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, VIRTIO_MMIO_CONFIG + 8, 2), PAIRS);
	ck_assert(link_is(NULL));
	generation = driver_read(&driver, VIRTIO_MMIO_CONFIG_GENERATION);
	attach(1, SOCK_SEQPACKET);
	await_link(true);
	ck_assert_uint_ne(driver_read(&driver, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_INTERRUPT_STATUS),
			  VIRTIO_MMIO_INT_CONFIG);
	ck_assert_int_eq(net_attach(net, NULL, 0, NULL), 0);
	await_link(false);
	attach(1, SOCK_SEQPACKET);
	await_link(true);
	/* A second one is announced until the driver has done that. */
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, VIRTIO_MMIO_CONFIG + 6, 2),
			  VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0),
			  VIRTIO_NET_OK);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, VIRTIO_MMIO_CONFIG + 6, 2),
			  VIRTIO_NET_S_LINK_UP);
	close_fd(&outside[0]);
	await_link(false);
}
END_TEST

START_TEST(it_is_a_placeholder_until_there_is_a_back_end)
{
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_NONE);
	attach(1, SOCK_SEQPACKET);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_NET);
	ck_assert_int_eq(net_attach(net, NULL, 0, NULL), 0);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_NONE);
}
END_TEST

START_TEST(the_next_driver_finds_the_address_of_the_beginning)
{
	static const uint8_t other[6] = {2, 0, 0, 0, 0, 9}, expected[6] = {2, 'b', 'k', 0, 0, 3};
	uint8_t mac[6];

	driver_start(&driver, ALL);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6),
			  VIRTIO_NET_OK);
	driver_write(&driver, VIRTIO_MMIO_STATUS, 0);
	for (unsigned int i = 0; i < 6; i++)
		mac[i] = (uint8_t)virtio_mmio_read(&driver.mmio, VIRTIO_MMIO_CONFIG + i, 1);
	ck_assert_mem_eq(mac, expected, 6);
}
END_TEST

START_TEST(a_back_end_may_come_before_the_driver)
{
	uint64_t gpas[4];

	attach(1, SOCK_SEQPACKET);
	send_outside(outside[0], 100);
	await_link(true);
	driver_start(&driver, ALL);
	offer_buffers(0, 4, BUFFER, gpas);
	ck_assert_uint_eq(receive(0, gpas, 100), 1);
}
END_TEST

START_TEST(packets_go_out_as_they_are)
{
	static const uint32_t lens[] = {HEADER + 14, 1514, HEADER + FRAME_MAX};

	driver_start(&driver, ALL);
	attach(1, SOCK_SEQPACKET);
	await_link(true);
	frame[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		driver_run(&driver, 1, submit_frame(1, lens[i]));
		ck_assert_uint_eq(recv_outside(outside[0]), lens[i]);
		ck_assert_mem_eq(got, frame, lens[i]);
	}
}
END_TEST

START_TEST(what_is_no_packet_is_dropped_and_so_is_all_without_a_link)
{
	driver_start(&driver, ALL);
	driver_run(&driver, 1, submit_frame(1, 100));
	attach(1, SOCK_SEQPACKET);
	await_link(true);
	driver_run(&driver, 1, submit_frame(1, HEADER + 13));
	driver_run(&driver, 1, submit_frame(1, HEADER + FRAME_MAX + 1));
	driver_run(&driver, 1, submit_frame(1, 101));
	ck_assert_uint_eq(recv_outside(outside[0]), 101);
}
END_TEST

/* Merged buffers: from one to what the largest packet takes, and small ones right behind it. */
START_TEST(packets_come_in_as_many_buffers_as_they_need)
{
	static const struct {
		size_t len;
		unsigned int buffers;
	} rows[] = {{60, 1},   {BUFFER, 1},	     {BUFFER + 1, 2},
		    {9014, 6}, {HEADER + 65535, 43}, {60, 1}};
	uint64_t gpas[128];
	unsigned int at = 0;

	driver_start(&driver, ALL);
	attach(1, SOCK_SEQPACKET);
	offer_buffers(0, 128, BUFFER, gpas);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		send_outside(outside[0], rows[i].len);
		ck_assert_uint_eq(receive(0, gpas + at, rows[i].len), rows[i].buffers);
		at += rows[i].buffers;
	}
}
END_TEST

/* A packet for which the buffers do not do waits for more of them, whole, and in its turn. */
/* What is known of buffers is kept in a row that is moved back now and then. */
START_TEST(many_packets_come_one_after_the_other)
{
	uint64_t gpas[64 + 3];

	driver_start(&driver, ALL);
	attach(1, SOCK_SEQPACKET);
	offer_buffers(0, 64, BUFFER, gpas);
	for (unsigned int i = 0; i < 800; i++) {
		unsigned int count = i % 3 + 1;
		size_t len = (count - 1) * BUFFER + 100 + i;

		send_outside(outside[0], len);
		ck_assert_uint_eq(receive(0, gpas, len), count);
		memmove(gpas, gpas + count, (64 - count) * sizeof(*gpas));
		offer_buffers(0, count, BUFFER, gpas + 64 - count);
	}
}
END_TEST

START_TEST(packets_wait_for_buffers)
{
	struct vring_used_elem elem;
	uint64_t gpas[8];

	driver_start(&driver, ALL);
	attach(1, SOCK_SEQPACKET);
	await_link(true);
	offer_buffers(0, 2, BUFFER, gpas);
	send_outside(outside[0], 4 * BUFFER);
	send_outside(outside[0], 80);
	/* The second one of these shows that the first was looked at. */
	driver_run(&driver, 1, submit_frame(1, 100));
	driver_run(&driver, 1, submit_frame(1, 100));
	ck_assert(!driver_collect(&driver, 0, &elem));
	offer_buffers(0, 6, BUFFER, gpas + 2);
	ck_assert_uint_eq(receive(0, gpas, 4 * BUFFER), 4);
	ck_assert_uint_eq(receive(0, gpas + 4, 80), 1);
}
END_TEST

START_TEST(without_merging_a_packet_has_one_buffer)
{
	uint64_t gpas[4];

	driver_start(&driver, ALL & ~MERGEABLE);
	attach(1, SOCK_SEQPACKET);
	offer_buffers(0, 2, BUFFER, gpas);
	send_outside(outside[0], BUFFER);
	ck_assert_uint_eq(receive(0, gpas, BUFFER), 1);
	/* Too large for what the driver gave: cut, and nothing beyond is written. */
	send_outside(outside[0], BUFFER + 100);
	ck_assert_uint_eq(receive(0, gpas + 1, BUFFER), 1);
}
END_TEST

START_TEST(as_many_pairs_as_the_driver_wants)
{
	uint16_t pairs = 2, wrong = 3;
	uint64_t gpas[4];

	driver_start(&driver, ALL);
	attach(2, SOCK_SEQPACKET);
	await_link(true);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_MQ, 0, &wrong, 2), VIRTIO_NET_ERR);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_MQ, 0, &pairs, 2), VIRTIO_NET_OK);
	offer_buffers(2, 4, BUFFER, gpas);
	send_outside(outside[1], 100);
	ck_assert_uint_eq(receive(2, gpas, 100), 1);
	driver_run(&driver, 3, submit_frame(3, 100));
	ck_assert_uint_eq(recv_outside(outside[1]), 100);
	/* With fewer queues behind it, every pair still sends. The link that is waited for is the
	 * new one's. */
	ck_assert_int_eq(net_attach(net, NULL, 0, NULL), 0);
	await_link(false);
	attach(1, SOCK_SEQPACKET);
	await_link(true);
	driver_run(&driver, 3, submit_frame(3, 120));
	ck_assert_uint_eq(recv_outside(outside[0]), 120);
}
END_TEST

START_TEST(commands_are_checked)
{
	static const uint8_t mac[] = {2, 1, 2, 3, 4, 5}, group[] = {1, 1, 2, 3, 4, 5}, on = 1;

	driver_start(&driver, ALL);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1),
			  VIRTIO_NET_OK);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6),
			  VIRTIO_NET_OK);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, VIRTIO_MMIO_CONFIG + 5, 1), 5);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, group, 6),
			  VIRTIO_NET_ERR);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 5),
			  VIRTIO_NET_ERR);
	ck_assert_uint_eq(control(99, 1, NULL, 0), VIRTIO_NET_ERR);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_MQ, 0, NULL, 0), VIRTIO_NET_ERR);
}
END_TEST

static bool is_broken(void *ctx)
{
	(void)ctx;
	return driver_read(&driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

START_TEST(a_receive_buffer_without_room_for_a_header_breaks_the_device)
{
	uint64_t gpa;

	driver_start(&driver, ALL);
	attach(1, SOCK_SEQPACKET);
	await_link(true);
	send_outside(outside[0], 100);
	offer_buffers(0, 1, HEADER - 1, &gpa);
	driver_until(&driver, is_broken, NULL);
	driver_reset(&driver);
	driver_start(&driver, ALL);
	driver_run(&driver, 1, submit_frame(1, 90));
	ck_assert_uint_eq(recv_outside(outside[0]), 90);
}
END_TEST

/* A socket that is full: packets wait, and leave in order when there is room. */
START_TEST(a_full_back_end_is_waited_for)
{
	uint32_t len = 60000;
	unsigned int sent = 0;

	driver_start(&driver, ALL);
	attach(1, SOCK_SEQPACKET);
	await_link(true);
	for (; sent < 40; sent++)
		submit_frame(1, len);
	driver_kick(&driver, 1);
	for (unsigned int i = 0; i < sent; i++)
		ck_assert_uint_eq(recv_outside(outside[0]), len);
	for (unsigned int i = 0; i < sent; i++)
		driver_wait(&driver, 1);
}
END_TEST

/* In bursts that are cut by a full socket now and then: all of them, each as often as it was sent.
 */
START_TEST(packets_of_a_burst_keep_their_order)
{
	unsigned int sent = 0, seen = 0;

	driver_start(&driver, ALL);
	attach(1, SOCK_SEQPACKET);
	await_link(true);
	while (seen < 2000) {
		for (unsigned int i = 0; i < 40; i++, sent++) {
			frame[HEADER + 14] = (uint8_t)(sent >> 8);
			frame[HEADER + 15] = (uint8_t)sent;
			submit_frame(1, 200 + sent % 1300);
		}
		driver_kick(&driver, 1);
		for (unsigned int i = 0; i < 40; i++, seen++) {
			ck_assert_uint_eq(recv_outside(outside[0]), 200 + seen % 1300);
			ck_assert_uint_eq(got[HEADER + 14] << 8 | got[HEADER + 15], seen & 0xffff);
		}
		for (unsigned int i = 0; i < 40; i++)
			driver_wait(&driver, 1);
	}
}
END_TEST

/* Wherever in a burst something is that is no packet: what comes behind it goes out. */
START_TEST(what_is_no_packet_costs_the_others_nothing)
{
	driver_start(&driver, ALL);
	attach(1, SOCK_SEQPACKET);
	await_link(true);
	for (unsigned int bad = 0; bad < 8; bad++) {
		for (unsigned int i = 0; i < 8; i++)
			submit_frame(1, i == bad ? HEADER + 13 : 100 + i);
		driver_kick(&driver, 1);
		for (unsigned int i = 0; i < 8; i++)
			driver_wait(&driver, 1);
		for (unsigned int i = 0; i < 8; i++)
			if (i != bad)
				ck_assert_uint_eq(recv_outside(outside[0]), 100 + i);
	}
}
END_TEST

/* What waits for a back end that goes is lost, as all is without one: the driver has it back. */
START_TEST(a_full_back_end_may_go)
{
	driver_start(&driver, ALL);
	attach(1, SOCK_SEQPACKET);
	await_link(true);
	for (unsigned int i = 0; i < 40; i++)
		submit_frame(1, 60000);
	driver_kick(&driver, 1);
	recv_outside(outside[0]);
	ck_assert_int_eq(net_attach(net, NULL, 0, NULL), 0);
	for (unsigned int i = 0; i < 40; i++)
		driver_wait(&driver, 1);
}
END_TEST

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Ten packets of which one passes at once: the others take the time that the rate says. */
START_TEST(rates_are_kept_both_ways)
{
	const struct rate rates[2] = {{0, 0}, {100, 1}};
	uint64_t gpas[16], begun;

	ck_assert_int_eq(net_limit(net, rates, rates, NULL), 0);
	driver_start(&driver, ALL);
	attach(1, SOCK_SEQPACKET);
	await_link(true);
	begun = now_ms();
	for (unsigned int i = 0; i < 10; i++)
		submit_frame(1, 100);
	driver_kick(&driver, 1);
	for (unsigned int i = 0; i < 10; i++)
		driver_wait(&driver, 1);
	ck_assert_uint_ge(now_ms() - begun, 80);
	offer_buffers(0, 16, BUFFER, gpas);
	begun = now_ms();
	for (unsigned int i = 0; i < 10; i++)
		send_outside(outside[0], 100);
	for (unsigned int i = 0; i < 10; i++)
		receive(0, gpas + i, 100);
	ck_assert_uint_ge(now_ms() - begun, 80);
}
END_TEST

static void stream_send(const void *bytes, size_t len, size_t piece)
{
	for (size_t at = 0; at < len; at += piece) {
		size_t part = len - at < piece ? len - at : piece;

		ck_assert_int_eq(send(outside[0], (const uint8_t *)bytes + at, part, 0),
				 (ssize_t)part);
	}
}

START_TEST(frames_come_in_a_stream_in_any_pieces)
{
	uint8_t length[4] = {0, 0, 200 >> 8, 200};
	uint64_t gpas[16];

	driver_start(&driver, ALL);
	attach(1, SOCK_STREAM);
	offer_buffers(0, 16, BUFFER, gpas);
	for (unsigned int i = 0; i < 8; i++) {
		stream_send(length, 4, i + 1);
		stream_send(frame + HEADER, 200, 200 / (i + 1));
	}
	for (unsigned int i = 0; i < 8; i++)
		ck_assert_uint_eq(receive(0, gpas + i, HEADER + 200), 1);
	driver_run(&driver, 1, submit_frame(1, HEADER + 200));
	ck_assert_uint_eq(recv_outside(outside[0]), 204);
	ck_assert_mem_eq(got, length, 4);
	ck_assert_mem_eq(got + 4, frame + HEADER, 200);
}
END_TEST

/* Nobody reads: what was cut in the middle goes on with the rest of it. */
START_TEST(a_full_stream_loses_nothing)
{
	uint32_t len = HEADER + 50000;
	size_t want = 30 * 50004, have = 0;

	driver_start(&driver, ALL);
	attach(1, SOCK_STREAM);
	await_link(true);
	for (unsigned int i = 0; i < 30; i++)
		submit_frame(1, len);
	driver_kick(&driver, 1);
	while (have < want) {
		size_t part = recv_outside(outside[0]);

		/* As far as this frame goes. */
		for (size_t at = 0, piece; at < part; at += piece, have += piece) {
			size_t in = have % 50004;

			piece = in < 4 ? 4 - in : 50004 - in;
			if (piece > part - at)
				piece = part - at;
			if (in >= 4)
				ck_assert_mem_eq(got + at, frame + HEADER + in - 4, piece);
		}
	}
	for (unsigned int i = 0; i < 30; i++)
		driver_wait(&driver, 1);
}
END_TEST

START_TEST(a_stream_that_is_out_of_step_ends_the_link)
{
	uint8_t length[4] = {0, 1, 0, 20};

	driver_start(&driver, ALL);
	attach(1, SOCK_STREAM);
	await_link(true);
	stream_send(length, 4, 4);
	await_link(false);
}
END_TEST

START_TEST(a_back_end_that_does_not_fit_is_refused)
{
	int pair[2], two[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(net_attach(net, pair, 1, NULL), -EINVAL);
	ck_assert_int_eq(pipe(two), 0);
	ck_assert_int_eq(net_attach(net, two, 1, NULL), -EINVAL);
	close(pair[0]);
	close(pair[1]);
	close(two[0]);
	close(two[1]);
}
END_TEST

Suite *net_suite(void)
{
	Suite *suite = suite_create("net");
	TCase *tcase = tcase_create("packets"), *stream = tcase_create("stream");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, the_link_comes_and_goes_with_the_back_end);
	tcase_add_test(tcase, it_is_a_placeholder_until_there_is_a_back_end);
	tcase_add_test(tcase, the_next_driver_finds_the_address_of_the_beginning);
	tcase_add_test(tcase, a_back_end_may_come_before_the_driver);
	tcase_add_test(tcase, packets_go_out_as_they_are);
	tcase_add_test(tcase, what_is_no_packet_is_dropped_and_so_is_all_without_a_link);
	tcase_add_test(tcase, packets_come_in_as_many_buffers_as_they_need);
	tcase_add_test(tcase, many_packets_come_one_after_the_other);
	tcase_add_test(tcase, packets_wait_for_buffers);
	tcase_add_test(tcase, without_merging_a_packet_has_one_buffer);
	tcase_add_test(tcase, as_many_pairs_as_the_driver_wants);
	tcase_add_test(tcase, commands_are_checked);
	tcase_add_test(tcase, a_receive_buffer_without_room_for_a_header_breaks_the_device);
	tcase_add_test(tcase, a_full_back_end_is_waited_for);
	tcase_add_test(tcase, packets_of_a_burst_keep_their_order);
	tcase_add_test(tcase, what_is_no_packet_costs_the_others_nothing);
	tcase_add_test(tcase, a_full_back_end_may_go);
	tcase_add_test(tcase, a_back_end_that_does_not_fit_is_refused);
	tcase_add_test(tcase, rates_are_kept_both_ways);
	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(stream, setup_plain, teardown);
	tcase_add_test(stream, frames_come_in_a_stream_in_any_pieces);
	tcase_add_test(stream, a_full_stream_loses_nothing);
	tcase_add_test(stream, a_stream_that_is_out_of_step_ends_the_link);
	suite_add_tcase(suite, stream);
	return suite;
}
