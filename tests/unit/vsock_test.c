#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/suites.h"
#include "tests/unit/vsock_guest.h"

#define SEND VIRTIO_VSOCK_SHUTDOWN_SEND
#define RCV  VIRTIO_VSOCK_SHUTDOWN_RCV

static struct vsock_guest guest;

static void setup(void)
{
	vsock_guest_init(&guest, NULL, -1);
	vsock_guest_start(&guest);
	vsock_guest_rx(&guest, 32);
}

static void teardown(void)
{
	vsock_guest_destroy(&guest);
}

static void send_op(uint16_t op, uint32_t guest_port, uint32_t host_port, uint32_t flags)
{
	vsock_guest_send(&guest, op, guest_port, host_port, flags, NULL, 0);
}

static void send_text(uint32_t guest_port, uint32_t host_port, const char *text)
{
	vsock_guest_send(&guest, VIRTIO_VSOCK_OP_RW, guest_port, host_port, 0, text,
			 (uint32_t)strlen(text));
}

static struct vsock_packet expect(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	return vsock_guest_expect(&guest, op, guest_port, host_port);
}

static void expect_text(uint32_t guest_port, uint32_t host_port, const char *text)
{
	struct vsock_packet packet = expect(VIRTIO_VSOCK_OP_RW, guest_port, host_port);

	ck_assert_uint_eq(packet.header.len, strlen(text));
	ck_assert_mem_eq(packet.payload, text, strlen(text));
}

static void expect_nothing(void)
{
	struct vsock_packet packet;

	ck_assert(!vsock_guest_poll(&guest, &packet));
}

static void expect_read(int fd, const char *text)
{
	char bytes[256] = "";

	ck_assert_int_eq(recv(fd, bytes, sizeof(bytes) - 1, MSG_DONTWAIT), (int)strlen(text));
	ck_assert_str_eq(bytes, text);
}

static void expect_eof(int fd)
{
	char byte;

	ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
}

static void put(int fd, const char *text)
{
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

START_TEST(config_has_the_cid)
{
	ck_assert_uint_eq(virtio_mmio_read(&guest.driver.mmio, 0x100, 8), VSOCK_GUEST_CID);
}
END_TEST

START_TEST(a_connection_carries_bytes_both_ways)
{
	int host = vsock_guest_socket(&guest, 5);

	vsock_guest_connect(&guest, 1000, 5);
	send_text(1000, 5, "from the guest");
	expect_read(host, "from the guest");
	put(host, "from the host");
	expect_text(1000, 5, "from the host");
	expect_nothing();
	close(host);
}
END_TEST

START_TEST(a_thousand_connections_a_hundred_at_once)
{
	enum { ONCE = 100, FIRST_PORT = 2000 };
	int host[ONCE];
	char text[32];

	for (unsigned int round = 0; round < 10; round++) {
		for (uint32_t i = 0; i < ONCE; i++) {
			host[i] = vsock_guest_socket(&guest, 5);
			vsock_guest_connect(&guest, FIRST_PORT + i, 5);
		}
		for (uint32_t i = 0; i < ONCE; i++) {
			snprintf(text, sizeof(text), "%u of round %u", i, round);
			send_text(FIRST_PORT + i, 5, text);
			expect_read(host[i], text);
			put(host[i], text);
			expect_text(FIRST_PORT + i, 5, text);
		}
		for (uint32_t i = 0; i < ONCE; i++) {
			send_op(VIRTIO_VSOCK_OP_SHUTDOWN, FIRST_PORT + i, 5, SEND | RCV);
			expect(VIRTIO_VSOCK_OP_RST, FIRST_PORT + i, 5);
			expect_eof(host[i]);
			close(host[i]);
		}
	}
	expect_nothing();
	ck_assert_uint_eq(guest.closed[5], 1000);
}
END_TEST

START_TEST(unknown_ports_are_refused)
{
	send_op(VIRTIO_VSOCK_OP_REQUEST, 1000, 9, 0);
	expect(VIRTIO_VSOCK_OP_RST, 1000, 9);
	/* A packet for what is no connection, but never an answer to an RST. */
	send_text(1001, 9, "hello?");
	expect(VIRTIO_VSOCK_OP_RST, 1001, 9);
	send_op(VIRTIO_VSOCK_OP_RST, 1001, 9, 0);
	expect_nothing();
	ck_assert_uint_eq(guest.closed[9], 0);
}
END_TEST

START_TEST(the_host_ends_first)
{
	int host = vsock_guest_socket(&guest, 5);

	vsock_guest_connect(&guest, 1000, 5);
	put(host, "last words");
	ck_assert_int_eq(shutdown(host, SHUT_WR), 0);
	expect_text(1000, 5, "last words");
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 5).header.flags, SEND);
	expect_nothing();
	/* The other direction goes on. */
	send_text(1000, 5, "still here");
	expect_read(host, "still here");
	send_op(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 5, SEND | RCV);
	expect(VIRTIO_VSOCK_OP_RST, 1000, 5);
	expect_eof(host);
	ck_assert_uint_eq(guest.closed[5], 1);
	close(host);
}
END_TEST

START_TEST(the_guest_ends_its_sending)
{
	int host = vsock_guest_socket(&guest, 5);

	vsock_guest_connect(&guest, 1000, 5);
	send_text(1000, 5, "bye");
	send_op(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 5, SEND);
	expect_read(host, "bye");
	expect_eof(host);
	put(host, "but I have more");
	expect_text(1000, 5, "but I have more");
	/* Sending after that is against the rules. */
	ck_assert_uint_eq(guest.closed[5], 0);
	send_text(1000, 5, "x");
	expect(VIRTIO_VSOCK_OP_RST, 1000, 5);
	ck_assert_uint_eq(guest.closed[5], 1);
	close(host);
}
END_TEST

START_TEST(the_guest_ends_its_receiving)
{
	int host = vsock_guest_socket(&guest, 5);

	vsock_guest_connect(&guest, 1000, 5);
	send_op(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 5, RCV);
	ck_assert_int_eq(send(host, "x", 1, MSG_NOSIGNAL), -1);
	ck_assert_int_eq(errno, EPIPE);
	send_text(1000, 5, "one way");
	expect_read(host, "one way");
	expect_nothing();
	close(host);
}
END_TEST

START_TEST(an_rst_of_the_guest_still_delivers_what_it_sent)
{
	int host = vsock_guest_socket(&guest, 5);

	vsock_guest_connect(&guest, 1000, 5);
	send_text(1000, 5, "delivered");
	send_op(VIRTIO_VSOCK_OP_RST, 1000, 5, 0);
	expect_read(host, "delivered");
	expect_eof(host);
	expect_nothing();
	ck_assert_uint_eq(guest.closed[5], 1);
	close(host);
}
END_TEST

START_TEST(nobody_reads_what_the_guest_sends)
{
	struct vsock_packet packet;
	int fds[2], in[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(pipe(in), 0);
	guest.ports[5].there = true;
	guest.ports[5].endpoint = (struct vsock_endpoint){in[0], fds[1]};
	vsock_guest_connect(&guest, 1000, 5);
	close(fds[0]);
	send_text(1000, 5, "into the void");
	packet = expect(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 5);
	ck_assert_uint_eq(packet.header.flags, RCV);
	/* The credit comes back. */
	ck_assert_uint_eq(packet.header.fwd_cnt, 13);
	put(in[1], "still read");
	expect_text(1000, 5, "still read");
	close(in[1]);
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 5).header.flags, SEND | RCV);
}
END_TEST

START_TEST(directions_that_do_not_exist_are_shut_down)
{
	guest.any_port = true;
	vsock_guest_connect(&guest, 1000, 50);
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 50).header.flags, SEND | RCV);
	send_text(1000, 50, "dropped");
	expect_nothing();
	send_op(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 50, SEND | RCV);
	expect(VIRTIO_VSOCK_OP_RST, 1000, 50);
}
END_TEST

START_TEST(files_serve_as_well)
{
	int in = memfd_create("in", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
	int kept = dup(out);
	char bytes[8] = "";

	put(in, "a file");
	ck_assert_int_eq(lseek(in, 0, SEEK_SET), 0);
	guest.ports[5].there = true;
	guest.ports[5].endpoint = (struct vsock_endpoint){in, out};
	vsock_guest_connect(&guest, 1000, 5);
	expect_text(1000, 5, "a file");
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 5).header.flags, SEND);
	send_text(1000, 5, "written");
	ck_assert_int_eq(pread(kept, bytes, sizeof(bytes), 0), 7);
	ck_assert_str_eq(bytes, "written");
	send_op(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 5, SEND | RCV);
	expect(VIRTIO_VSOCK_OP_RST, 1000, 5);
	close(kept);
}
END_TEST

START_TEST(many_connections_are_kept_apart)
{
	enum { COUNT = 12, ROUNDS = 20 };
	int hosts[COUNT];
	char text[32];

	for (uint32_t i = 0; i < COUNT; i++) {
		hosts[i] = vsock_guest_socket(&guest, i);
		vsock_guest_connect(&guest, 1000, i);
	}
	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (uint32_t i = 0; i < COUNT; i++) {
			snprintf(text, sizeof(text), "%u of %u", round, i);
			send_text(1000, i, text);
			put(hosts[i], text);
			expect_text(1000, i, text);
			expect_read(hosts[i], text);
		}
	}
	for (uint32_t i = 0; i < COUNT; i++) {
		close(hosts[i]);
		expect(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, i);
	}
}
END_TEST

START_TEST(connections_are_bounded)
{
	guest.any_port = true;
	for (uint32_t i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		vsock_guest_connect(&guest, 1000 + i, 50);
		expect(VIRTIO_VSOCK_OP_SHUTDOWN, 1000 + i, 50);
	}
	send_op(VIRTIO_VSOCK_OP_REQUEST, 1, 50, 0);
	expect(VIRTIO_VSOCK_OP_RST, 1, 50);
	send_op(VIRTIO_VSOCK_OP_RST, 1000, 50, 0);
	vsock_guest_connect(&guest, 1, 50);
}
END_TEST

START_TEST(a_reset_ends_connections_after_what_was_sent)
{
	int host = vsock_guest_socket(&guest, 5);

	vsock_guest_connect(&guest, 1000, 5);
	send_text(1000, 5, "before the reset");
	driver_reset(&guest.driver);
	driver_idle(&guest.driver);
	expect_read(host, "before the reset");
	expect_eof(host);
	close(host);
	ck_assert_uint_eq(guest.closed[5], 1);
	driver_forget(&guest.driver);
	vsock_guest_start(&guest);
	vsock_guest_rx(&guest, 8);
	host = vsock_guest_socket(&guest, 5);
	vsock_guest_connect(&guest, 1000, 5);
	put(host, "again");
	expect_text(1000, 5, "again");
	close(host);
}
END_TEST

START_TEST(packets_of_others_are_dropped)
{
	struct virtio_vsock_hdr header = {.src_cid = VSOCK_GUEST_CID,
					  .dst_cid = VSOCK_HOST_CID,
					  .src_port = 1,
					  .dst_port = 9,
					  .type = VIRTIO_VSOCK_TYPE_STREAM,
					  .op = VIRTIO_VSOCK_OP_RW};

	vsock_guest_send_raw(&guest, &header, sizeof(header) - 1);
	header.src_cid = VSOCK_GUEST_CID + 1;
	vsock_guest_send_raw(&guest, &header, sizeof(header));
	header.src_cid = VSOCK_GUEST_CID | 1ull << 32;
	vsock_guest_send_raw(&guest, &header, sizeof(header));
	header.src_cid = VSOCK_GUEST_CID;
	header.dst_cid = 1;
	vsock_guest_send_raw(&guest, &header, sizeof(header));
	expect_nothing();
}
END_TEST

/* Each breaks the rules in another way, and costs the connection. */
START_TEST(packets_that_break_the_rules_end_the_connection)
{
	struct virtio_vsock_hdr header = {.src_cid = VSOCK_GUEST_CID,
					  .dst_cid = VSOCK_HOST_CID,
					  .src_port = 1000,
					  .dst_port = 5,
					  .type = VIRTIO_VSOCK_TYPE_STREAM,
					  .op = VIRTIO_VSOCK_OP_CREDIT_UPDATE};
	int host = vsock_guest_socket(&guest, 5);

	vsock_guest_connect(&guest, 1000, 5);
	if (_i == 0)
		header.op = 99;
	else if (_i == 1)
		header.op = VIRTIO_VSOCK_OP_REQUEST;
	else if (_i == 2)
		header.op = VIRTIO_VSOCK_OP_RESPONSE;
	else if (_i == 3)
		header.type = 2;
	else
		header.len = 1;
	vsock_guest_send_raw(&guest, &header, sizeof(header));
	expect(VIRTIO_VSOCK_OP_RST, 1000, 5);
	expect_eof(host);
	close(host);
	expect_nothing();
	ck_assert_uint_eq(guest.closed[5], 1);
}
END_TEST

Suite *vsock_suite(void)
{
	Suite *suite = suite_create("vsock");
	TCase *tcase = tcase_create("vsock");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, config_has_the_cid);
	tcase_add_test(tcase, a_connection_carries_bytes_both_ways);
	tcase_add_test(tcase, a_thousand_connections_a_hundred_at_once);
	tcase_add_test(tcase, unknown_ports_are_refused);
	tcase_add_test(tcase, the_host_ends_first);
	tcase_add_test(tcase, the_guest_ends_its_sending);
	tcase_add_test(tcase, the_guest_ends_its_receiving);
	tcase_add_test(tcase, an_rst_of_the_guest_still_delivers_what_it_sent);
	tcase_add_test(tcase, nobody_reads_what_the_guest_sends);
	tcase_add_test(tcase, directions_that_do_not_exist_are_shut_down);
	tcase_add_test(tcase, files_serve_as_well);
	tcase_add_test(tcase, many_connections_are_kept_apart);
	tcase_add_test(tcase, connections_are_bounded);
	tcase_add_test(tcase, a_reset_ends_connections_after_what_was_sent);
	tcase_add_test(tcase, packets_of_others_are_dropped);
	tcase_add_loop_test(tcase, packets_that_break_the_rules_end_the_connection, 0, 5);
	suite_add_tcase(suite, tcase);
	return suite;
}
