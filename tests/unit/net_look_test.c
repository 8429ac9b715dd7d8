/* A NIC whose thread looks for packets instead of waiting to be notified (common/loop.h). The loop
 * is the test's: it looks, rests and waits when the test says so. */
#include <check.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "devices/net_internal.h"
#include "tests/unit/driver.h"
#include "tests/unit/suites.h"

#define TX    1
#define FRAME 64u

static struct io_thread thread;
static struct driver driver;
static struct net *net;
static int outside;

static void setup(void)
{
	struct net_options options = {.name = "net", .pairs = 1, .thread = &thread};
	int pair[2];

	driver_init(&driver);
	ck_assert_int_eq(io_thread_init(&thread, "io", NULL), 0);
	ck_assert_int_eq(net_create(&net, &options, &driver.mem, NULL), 0);
	driver_attach(&driver, net_device(net), net_loop(net), true);
	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	outside = pair[1];
	ck_assert_int_eq(net_attach(net, pair, 1, NULL), 0);
	driver_start(&driver, DRIVER_FEATURES);
	driver_idle(&driver);
}

static void teardown(void)
{
	driver_detach(&driver);
	net_destroy(net);
	io_thread_destroy(&thread);
	driver_destroy(&driver);
	close_fd(&outside);
}

/* Not notified of. */
static void submit(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct driver_buffer buffer = {driver_alloc(&driver, FRAME), FRAME, false};

		memset(driver_at(&driver, buffer.gpa), 0, FRAME);
		driver_submit(&driver, TX, &buffer, 1);
	}
}

static unsigned int sent(void)
{
	uint8_t got[FRAME];
	unsigned int count = 0;

	while (recv(outside, got, sizeof(got), MSG_DONTWAIT) == (ssize_t)FRAME)
		count++;
	return count;
}

static bool look(void)
{
	return net->poll.look(&net->poll);
}

static bool rest(void)
{
	return net->poll.rest(&net->poll);
}

START_TEST(packets_are_found_without_a_notification)
{
	struct vring_used_elem elem;

	ck_assert(!look());
	submit(3);
	ck_assert(look());
	ck_assert_uint_eq(sent(), 3);
	for (unsigned int i = 0; i < 3; i++)
		ck_assert(driver_collect(&driver, TX, &elem));
	ck_assert(driver_interrupted(&driver));
	ck_assert(!look());
}
END_TEST

/* One that comes all the same, since it was asked for before: no other is asked for until it rests.
 */
START_TEST(while_it_looks_no_notification_is_asked_for)
{
	struct virtqueue *vq = &net_device(net)->queues[TX];

	submit(1);
	driver_kick(&driver, TX);
	driver_idle(&driver);
	ck_assert(!vq->polled);
	thread.loop.looking.runs = true;
	ck_assert(!look());
	submit(1);
	driver_kick(&driver, TX);
	driver_idle(&driver);
	ck_assert_uint_eq(sent(), 2);
	ck_assert(vq->polled);
	ck_assert(!rest());
	ck_assert(!vq->polled);
}
END_TEST

/* Between the last look and the wish to be notified: nobody would say anything of it. */
START_TEST(what_comes_before_it_rests_is_sent)
{
	ck_assert(!look());
	submit(2);
	ck_assert(rest());
	driver_idle(&driver);
	ck_assert_uint_eq(sent(), 2);
	/* That notification had it rest again. */
	ck_assert(!rest());
	submit(1);
	driver_kick(&driver, TX);
	driver_idle(&driver);
	ck_assert_uint_eq(sent(), 1);
}
END_TEST

/* One packet has passed, the next has to wait: to look or to rest again and again is of no use. */
START_TEST(a_rate_is_waited_for)
{
	const struct rate none[2] = {{0, 0}, {0, 0}}, one[2] = {{0, 0}, {1, 1}};

	ck_assert_int_eq(net_limit(net, none, one, NULL), 0);
	driver_idle(&driver);
	submit(2);
	ck_assert(look());
	ck_assert_uint_eq(sent(), 1);
	ck_assert(!look());
	ck_assert(!rest());
	ck_assert_int_eq(net_limit(net, none, none, NULL), 0);
	driver_idle(&driver);
	ck_assert_uint_eq(sent(), 1);
}
END_TEST

START_TEST(a_machine_that_holds_still_is_left_alone)
{
	virtio_mmio_hold(&driver.mmio);
	submit(1);
	ck_assert(!look());
	ck_assert(!rest());
	ck_assert_uint_eq(sent(), 0);
	virtio_mmio_release(&driver.mmio);
	driver_idle(&driver);
	ck_assert_uint_eq(sent(), 1);
	ck_assert(!rest());
}
END_TEST

START_TEST(a_slot_without_a_link_is_not_looked_at)
{
	ck_assert_int_eq(net_attach(net, NULL, 0, NULL), 0);
	driver_idle(&driver);
	submit(1);
	ck_assert(!look());
	driver_kick(&driver, TX);
	driver_wait(&driver, TX);
}
END_TEST

Suite *net_look_suite(void)
{
	Suite *suite = suite_create("net_look");
	TCase *tcase = tcase_create("look");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, packets_are_found_without_a_notification);
	tcase_add_test(tcase, while_it_looks_no_notification_is_asked_for);
	tcase_add_test(tcase, what_comes_before_it_rests_is_sent);
	tcase_add_test(tcase, a_rate_is_waited_for);
	tcase_add_test(tcase, a_machine_that_holds_still_is_left_alone);
	tcase_add_test(tcase, a_slot_without_a_link_is_not_looked_at);
	suite_add_tcase(suite, tcase);
	return suite;
}
