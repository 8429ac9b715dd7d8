/* Hybrid vsock: Unix sockets on the host, both ways. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/suites.h"
#include "tests/unit/vsock_guest.h"

static struct vsock_guest guest;
static struct sockaddr_un listener; /* where the device listens: an abstract name */
static char folder[] = "/tmp/bulkhead-vsock-XXXXXX";
static char prefix[64];

static int listen_on(struct sockaddr_un *addr, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)addr, len), 0);
	ck_assert_int_eq(listen(fd, 128), 0);
	return fd;
}

static void setup(void)
{
	socklen_t len = sizeof(listener);
	int fd;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(prefix, sizeof(prefix), "%s/vsock", folder);
	listener.sun_family = AF_UNIX;
	/* The kernel chooses the name. */
	fd = listen_on(&listener, sizeof(sa_family_t));
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&listener, &len), 0);
	vsock_guest_init(&guest, prefix, fd);
	vsock_guest_start(&guest);
	vsock_guest_rx(&guest, 32);
}

static void teardown(void)
{
	vsock_guest_destroy(&guest);
	rmdir(folder);
}

static int client(const char *says)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* sizeof(sa_family_t) + a NUL + five digits: what autobind makes */
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&listener, sizeof(sa_family_t) + 6), 0);
	ck_assert_int_eq(write(fd, says, strlen(says)), (ssize_t)strlen(says));
	return fd;
}

static void expect_read(int fd, const char *text)
{
	char bytes[256] = "";

	ck_assert_int_eq(recv(fd, bytes, sizeof(bytes) - 1, MSG_DONTWAIT), (int)strlen(text));
	ck_assert_str_eq(bytes, text);
}

static void expect_closed(int fd)
{
	char byte;
	ssize_t len = recv(fd, &byte, 1, MSG_DONTWAIT);

	/* A reset where something was left unread. */
	ck_assert(len == 0 || (len < 0 && errno == ECONNRESET));
	close(fd);
}

static void expect_nothing(void)
{
	struct vsock_packet packet;

	ck_assert(!vsock_guest_poll(&guest, &packet));
}

static void accept_request(int fd, uint32_t guest_port)
{
	struct vsock_packet packet = vsock_guest_receive(&guest);
	char ok[32];

	ck_assert_uint_eq(packet.header.op, VIRTIO_VSOCK_OP_REQUEST);
	ck_assert_uint_eq(packet.header.dst_port, guest_port);
	ck_assert_uint_ge(packet.header.src_port, 1u << 30);
	vsock_guest_send(&guest, VIRTIO_VSOCK_OP_RESPONSE, guest_port, packet.header.src_port, 0,
			 NULL, 0);
	snprintf(ok, sizeof(ok), "OK %u\n", packet.header.src_port);
	expect_read(fd, ok);
}

START_TEST(a_client_reaches_the_guest)
{
	int fd = client("CONNECT 52\nand more");
	struct vsock_packet packet;

	accept_request(fd, 52);
	packet = vsock_guest_receive(&guest);
	ck_assert_uint_eq(packet.header.op, VIRTIO_VSOCK_OP_RW);
	ck_assert_uint_eq(packet.header.len, 8);
	ck_assert_mem_eq(packet.payload, "and more", 8);
	vsock_guest_send(&guest, VIRTIO_VSOCK_OP_RW, 52, packet.header.src_port, 0, "hi", 2);
	expect_read(fd, "hi");
	close(fd);
	ck_assert_uint_eq(vsock_guest_receive(&guest).header.op, VIRTIO_VSOCK_OP_SHUTDOWN);
}
END_TEST

START_TEST(the_line_may_come_in_pieces)
{
	static const char line[] = "CONNECT 4294967294\n";
	int fd = client("");

	for (size_t i = 0; i < sizeof(line) - 1; i++) {
		/* Idle in between: an unfinished line keeps nobody busy. */
		expect_nothing();
		ck_assert_int_eq(write(fd, line + i, 1), 1);
	}
	accept_request(fd, 4294967294u);
	close(fd);
}
END_TEST

static const char *const bad_lines[] = {
	"CONNECT\n",
	"CONNECT \n",
	"connect 5\n",
	"CONNECT 5 \n",
	"CONNECT -5\n",
	"CONNECT +5\n",
	"CONNECT  5\n",
	"CONNECT 0x5\n",
	"CONNECT 5\r\n",
	"CONNECT 4294967295\n",
	"CONNECT 4294967296\n",
	"CONNECT 99999999999999999999\n",
	"CONNECT 00000000000000000000000005\n",
	"GET / HTTP/1.1 and so on and so on",
	"\n",
};

START_TEST(other_lines_are_not_answered)
{
	int fd = client(bad_lines[_i]);

	expect_nothing();
	expect_closed(fd);
}
END_TEST

START_TEST(half_a_line_and_the_end_is_no_connection)
{
	int fd = client("CONNECT 5");

	expect_nothing();
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	expect_nothing();
	expect_closed(fd);
}
END_TEST

START_TEST(a_guest_that_refuses_closes_the_client)
{
	int fd = client("CONNECT 52\n");
	struct vsock_packet packet = vsock_guest_receive(&guest);

	vsock_guest_send(&guest, VIRTIO_VSOCK_OP_RST, 52, packet.header.src_port, 0, NULL, 0);
	driver_idle(&guest.driver);
	expect_closed(fd);
	expect_nothing();
}
END_TEST

START_TEST(a_client_that_gives_up_is_taken_back)
{
	int fd = client("CONNECT 52\n");
	struct vsock_packet packet = vsock_guest_receive(&guest);

	close(fd);
	vsock_guest_expect(&guest, VIRTIO_VSOCK_OP_RST, 52, packet.header.src_port);
	vsock_guest_send(&guest, VIRTIO_VSOCK_OP_RESPONSE, 52, packet.header.src_port, 0, NULL, 0);
	vsock_guest_expect(&guest, VIRTIO_VSOCK_OP_RST, 52, packet.header.src_port);
	expect_nothing();
}
END_TEST

START_TEST(a_client_may_be_done_before_the_guest_answers)
{
	int fd = client("CONNECT 52\nonly this");

	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	accept_request(fd, 52);
	ck_assert_uint_eq(vsock_guest_receive(&guest).header.len, 9);
	ck_assert_uint_eq(vsock_guest_receive(&guest).header.op, VIRTIO_VSOCK_OP_SHUTDOWN);
	close(fd);
}
END_TEST

START_TEST(without_a_guest_clients_are_closed)
{
	int fd;

	driver_reset(&guest.driver);
	fd = client("CONNECT 52\n");
	driver_idle(&guest.driver);
	expect_closed(fd);
}
END_TEST

START_TEST(silent_clients_are_bounded_and_others_wait)
{
	int silent[64], fd;

	for (int i = 0; i < 64; i++)
		silent[i] = client("CON");
	fd = client("CONNECT 52\n");
	expect_nothing();
	close(silent[7]);
	accept_request(fd, 52);
	for (int i = 0; i < 64; i++)
		if (i != 7)
			close(silent[i]);
	close(fd);
}
END_TEST

/* As long as there are no descriptors nobody is accepted, but nobody spins either. */
START_TEST(clients_wait_for_descriptors)
{
	struct rlimit limit = {0}, before;
	int fd = client("CONNECT 52\n");

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit.rlim_max = before.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(loop_step(&guest.loop, 0), 0);
	driver_idle(&guest.driver);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	driver_kick(&guest.driver, GUEST_RX);
	accept_request(fd, 52);
	close(fd);
}
END_TEST

START_TEST(the_guest_reaches_a_socket)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int listening, fd;

	ck_assert_int_gt(snprintf(addr.sun_path, sizeof(addr.sun_path), "%s_77", prefix), 0);
	listening = listen_on(&addr, sizeof(addr));
	vsock_guest_connect(&guest, 1000, 77);
	fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	vsock_guest_send(&guest, VIRTIO_VSOCK_OP_RW, 1000, 77, 0, "hello", 5);
	expect_read(fd, "hello");
	ck_assert_int_eq(write(fd, "hi", 2), 2);
	ck_assert_mem_eq(vsock_guest_receive(&guest).payload, "hi", 2);
	close(fd);
	vsock_guest_expect(&guest, VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 77);
	/* Nobody listens any more, and nobody ever did. */
	close(listening);
	for (uint32_t port = 77; port < 79; port++) {
		vsock_guest_send(&guest, VIRTIO_VSOCK_OP_REQUEST, 1001, port, 0, NULL, 0);
		vsock_guest_expect(&guest, VIRTIO_VSOCK_OP_RST, 1001, port);
	}
	unlink(addr.sun_path);
}
END_TEST

Suite *vsock_hybrid_suite(void)
{
	Suite *suite = suite_create("vsock_hybrid");
	TCase *tcase = tcase_create("vsock_hybrid");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, a_client_reaches_the_guest);
	tcase_add_test(tcase, the_line_may_come_in_pieces);
	tcase_add_loop_test(tcase, other_lines_are_not_answered, 0,
			    (int)(sizeof(bad_lines) / sizeof(bad_lines[0])));
	tcase_add_test(tcase, half_a_line_and_the_end_is_no_connection);
	tcase_add_test(tcase, a_guest_that_refuses_closes_the_client);
	tcase_add_test(tcase, a_client_that_gives_up_is_taken_back);
	tcase_add_test(tcase, a_client_may_be_done_before_the_guest_answers);
	tcase_add_test(tcase, without_a_guest_clients_are_closed);
	tcase_add_test(tcase, silent_clients_are_bounded_and_others_wait);
	tcase_add_test(tcase, clients_wait_for_descriptors);
	tcase_add_test(tcase, the_guest_reaches_a_socket);
	suite_add_tcase(suite, tcase);
	return suite;
}
