/* Credit both ways, and guests that give no buffers. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/suites.h"
#include "tests/unit/vsock_guest.h"

#define ALLOC (128u * 1024) /* what the device offers on a connection */

static struct vsock_guest guest;
static int host;

static void setup(void)
{
	vsock_guest_init(&guest, NULL, -1);
	vsock_guest_start(&guest);
	host = vsock_guest_socket(&guest, 5);
}

static void teardown(void)
{
	close(host);
	vsock_guest_destroy(&guest);
}

static void send_op(uint16_t op, uint32_t flags)
{
	vsock_guest_send(&guest, op, 1000, 5, flags, NULL, 0);
}

static struct vsock_packet expect(uint16_t op)
{
	return vsock_guest_expect(&guest, op, 1000, 5);
}

static void expect_nothing(void)
{
	struct vsock_packet packet;

	ck_assert(!vsock_guest_poll(&guest, &packet));
}

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 13 + at / 251);
}

START_TEST(the_host_sends_as_much_as_the_guest_can_take)
{
	struct vsock_packet packet;
	uint8_t bytes[1000];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = pattern(i);
	vsock_guest_rx(&guest, 8);
	guest.buf_alloc = 100;
	vsock_guest_connect(&guest, 1000, 5);
	ck_assert_int_eq(write(host, bytes, sizeof(bytes)), sizeof(bytes));
	for (uint32_t at = 0; at < 300; at += 100) {
		packet = expect(VIRTIO_VSOCK_OP_RW);
		ck_assert_uint_eq(packet.header.len, 100);
		ck_assert_mem_eq(packet.payload, bytes + at, 100);
		if (at == 0)
			expect(VIRTIO_VSOCK_OP_CREDIT_REQUEST);
		else if (at == 100)
			expect(VIRTIO_VSOCK_OP_CREDIT_REQUEST);
		else
			break;
		expect_nothing();
		/* The answer is "none": it is not asked again and again. */
		send_op(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
		expect_nothing();
		guest.fwd_cnt += 100;
		send_op(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	}
	/* A count of what was never sent is no credit. */
	expect(VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	guest.fwd_cnt = 1u << 31;
	send_op(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	expect_nothing();
	guest.fwd_cnt = 300;
	guest.buf_alloc = 1000;
	send_op(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	packet = expect(VIRTIO_VSOCK_OP_RW);
	ck_assert_uint_eq(packet.header.len, 700);
	ck_assert_mem_eq(packet.payload, bytes + 300, 700);
}
END_TEST

/* Fills the socket and then the device's buffer. Returns the bytes the device has taken. */
static size_t send_until_no_credit(void)
{
	size_t sent = 0, forwarded = 0;
	struct vsock_packet packet;
	uint8_t bytes[16384];

	for (;;) {
		while (vsock_guest_poll(&guest, &packet)) {
			ck_assert_uint_eq(packet.header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
			forwarded = packet.header.fwd_cnt;
		}
		if (sent - forwarded + sizeof(bytes) > ALLOC) {
			send_op(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
			forwarded = expect(VIRTIO_VSOCK_OP_CREDIT_UPDATE).header.fwd_cnt;
			if (sent - forwarded == ALLOC)
				return sent;
		}
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = pattern(sent + i);
		vsock_guest_send(&guest, VIRTIO_VSOCK_OP_RW, 1000, 5, 0, bytes,
				 ALLOC - (sent - forwarded) < sizeof(bytes)
					 ? (uint32_t)(ALLOC - (sent - forwarded))
					 : (uint32_t)sizeof(bytes));
		sent += ALLOC - (sent - forwarded) < sizeof(bytes) ? ALLOC - (sent - forwarded)
								   : sizeof(bytes);
	}
}

static size_t read_some(size_t at)
{
	uint8_t bytes[65536];
	ssize_t len = recv(host, bytes, sizeof(bytes), MSG_DONTWAIT);

	ck_assert(len > 0 || (len < 0 && errno == EAGAIN));
	for (ssize_t i = 0; i < len; i++)
		if (bytes[i] != pattern(at + (size_t)i))
			ck_abort_msg("byte %zu is wrong", at + (size_t)i);
	return len > 0 ? (size_t)len : 0;
}

START_TEST(a_slow_reader_gets_everything_in_the_end)
{
	size_t sent, got = 0;

	vsock_guest_rx(&guest, 8);
	vsock_guest_connect(&guest, 1000, 5);
	sent = send_until_no_credit();
	ck_assert_uint_ge(sent, ALLOC);
	/* The end comes after all of it, though the guest says it first. */
	if (_i == 0)
		send_op(VIRTIO_VSOCK_OP_SHUTDOWN,
			VIRTIO_VSOCK_SHUTDOWN_SEND | VIRTIO_VSOCK_SHUTDOWN_RCV);
	else if (_i == 1)
		send_op(VIRTIO_VSOCK_OP_RST, 0);
	else
		driver_reset(&guest.driver);
	while (got < sent) {
		got += read_some(got);
		driver_idle(&guest.driver);
	}
	if (_i == 0) {
		struct vsock_packet packet;

		do
			packet = vsock_guest_receive(&guest);
		while (packet.header.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE);
		ck_assert_uint_eq(packet.header.op, VIRTIO_VSOCK_OP_RST);
	}
	ck_assert_int_eq(recv(host, &got, 1, MSG_DONTWAIT), 0);
	ck_assert_uint_eq(guest.closed[5], 1);
}
END_TEST

/* Another connection, both ways, while that of port 1000 stands still. */
static void another_goes_on(void)
{
	int other = vsock_guest_socket(&guest, 6);
	struct vsock_packet packet;
	char byte;

	vsock_guest_connect(&guest, 1001, 6);
	vsock_guest_send(&guest, VIRTIO_VSOCK_OP_RW, 1001, 6, 0, "x", 1);
	ck_assert_int_eq(recv(other, &byte, 1, MSG_DONTWAIT), 1);
	ck_assert_int_eq(write(other, "y", 1), 1);
	packet = vsock_guest_expect(&guest, VIRTIO_VSOCK_OP_RW, 1001, 6);
	ck_assert_uint_eq(packet.header.len, 1);
	ck_assert_int_eq(packet.payload[0], 'y');
	close(other);
}

START_TEST(a_host_that_never_reads_blocks_nobody_else)
{
	vsock_guest_rx(&guest, 8);
	vsock_guest_connect(&guest, 1000, 5);
	send_until_no_credit();
	another_goes_on();
}
END_TEST

START_TEST(a_guest_that_never_reads_blocks_nobody_else)
{
	uint8_t bytes[1000] = {0};

	vsock_guest_rx(&guest, 8);
	guest.buf_alloc = 100;
	vsock_guest_connect(&guest, 1000, 5);
	ck_assert_int_eq(write(host, bytes, sizeof(bytes)), sizeof(bytes));
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_RW).header.len, 100);
	expect(VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	guest.buf_alloc = GUEST_BUF_ALLOC;
	another_goes_on();
}
END_TEST

START_TEST(more_than_the_credit_ends_the_connection)
{
	vsock_guest_rx(&guest, 8);
	vsock_guest_connect(&guest, 1000, 5);
	send_until_no_credit();
	vsock_guest_send(&guest, VIRTIO_VSOCK_OP_RW, 1000, 5, 0, "x", 1);
	expect(VIRTIO_VSOCK_OP_RST);
	ck_assert_uint_eq(guest.closed[5], 1);
}
END_TEST

START_TEST(credit_is_told_before_it_runs_out)
{
	static uint8_t bytes[32768];
	struct vsock_packet packet;

	vsock_guest_rx(&guest, 8);
	vsock_guest_connect(&guest, 1000, 5);
	for (uint32_t round = 1; round <= 20; round++) {
		size_t got = 0;

		vsock_guest_send(&guest, VIRTIO_VSOCK_OP_RW, 1000, 5, 0, bytes, sizeof(bytes));
		while (got < sizeof(bytes)) {
			got += (size_t)recv(host, bytes, sizeof(bytes) - got, 0);
			driver_idle(&guest.driver);
		}
		packet = expect(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
		ck_assert_uint_eq(packet.header.fwd_cnt, round * sizeof(bytes));
		expect_nothing();
	}
}
END_TEST

START_TEST(without_buffers_nothing_is_lost)
{
	struct vsock_packet packet;

	/* No rx buffers at all: the host's bytes stay where they are. */
	send_op(VIRTIO_VSOCK_OP_REQUEST, 0);
	ck_assert_int_eq(write(host, "waiting", 7), 7);
	expect_nothing();
	vsock_guest_rx(&guest, 1);
	expect(VIRTIO_VSOCK_OP_RESPONSE);
	packet = expect(VIRTIO_VSOCK_OP_RW);
	ck_assert_uint_eq(packet.header.len, 7);
	ck_assert_mem_eq(packet.payload, "waiting", 7);
	expect_nothing();
}
END_TEST

/* What the device owes is bounded: past that it lets the guest's own packets wait. */
START_TEST(refusals_wait_for_buffers)
{
	enum { COUNT = 100 };
	struct virtio_vsock_hdr header = {.src_cid = VSOCK_GUEST_CID,
					  .dst_cid = VSOCK_HOST_CID,
					  .type = VIRTIO_VSOCK_TYPE_STREAM,
					  .op = VIRTIO_VSOCK_OP_REQUEST,
					  .dst_port = 9};
	struct driver *driver = &guest.driver;
	unsigned int taken = 0;
	struct vring_used_elem elem;

	for (uint32_t i = 0; i < COUNT; i++) {
		struct driver_buffer buffer = {driver_alloc(driver, sizeof(header)), sizeof(header),
					       false};

		header.src_port = 2000 + i;
		memcpy(driver_at(driver, buffer.gpa), &header, sizeof(header));
		driver_submit(driver, GUEST_TX, &buffer, 1);
	}
	driver_kick(driver, GUEST_TX);
	driver_idle(driver);
	while (driver_collect(driver, GUEST_TX, &elem))
		taken++;
	ck_assert_uint_eq(taken, 64);
	vsock_guest_rx(&guest, 4);
	for (uint32_t i = 0; i < COUNT; i++)
		vsock_guest_expect(&guest, VIRTIO_VSOCK_OP_RST, 2000 + i, 9);
	while (driver_collect(driver, GUEST_TX, &elem))
		taken++;
	ck_assert_uint_eq(taken, COUNT);
	expect_nothing();
}
END_TEST

START_TEST(a_buffer_without_room_asks_for_a_reset)
{
	struct driver *driver = &guest.driver;
	uint32_t len = sizeof(struct virtio_vsock_hdr);
	struct driver_buffer buffer = {driver_alloc(driver, len), len, true};

	driver_submit(driver, GUEST_RX, &buffer, 1);
	send_op(VIRTIO_VSOCK_OP_REQUEST, 0);
	driver_idle(driver);
	ck_assert(driver_read(driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
}
END_TEST

Suite *vsock_flow_suite(void)
{
	Suite *suite = suite_create("vsock_flow");
	TCase *tcase = tcase_create("vsock_flow");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, the_host_sends_as_much_as_the_guest_can_take);
	tcase_add_loop_test(tcase, a_slow_reader_gets_everything_in_the_end, 0, 3);
	tcase_add_test(tcase, a_host_that_never_reads_blocks_nobody_else);
	tcase_add_test(tcase, a_guest_that_never_reads_blocks_nobody_else);
	tcase_add_test(tcase, more_than_the_credit_ends_the_connection);
	tcase_add_test(tcase, credit_is_told_before_it_runs_out);
	tcase_add_test(tcase, without_buffers_nothing_is_lost);
	tcase_add_test(tcase, refusals_wait_for_buffers);
	tcase_add_test(tcase, a_buffer_without_room_asks_for_a_reset);
	suite_add_tcase(suite, tcase);
	return suite;
}
