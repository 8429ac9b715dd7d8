/* The VMM's table of processes that exec started: numbers, streams, and when an end is told. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/suites.h"
#include "vmm/exec.h"

static struct exec_table table;
static struct {
	void *owner;
	uint32_t process, status;
	int count;
} told;

static void ended(void *ctx, void *owner, uint32_t process, uint32_t status)
{
	ck_assert_ptr_eq(ctx, &told);
	told.owner = owner;
	told.process = process;
	told.status = status;
	told.count++;
}

static void setup(void)
{
	exec_table_init(&table);
	table.ended = ended;
	table.ctx = &told;
	memset(&told, 0, sizeof(told));
}

static void teardown(void)
{
	exec_table_destroy(&table);
}

static void open_three(int fds[PROTO_STREAMS])
{
	for (int i = 0; i < PROTO_STREAMS; i++)
		fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
}

static uint32_t add(void *owner)
{
	int fds[PROTO_STREAMS], number;

	open_three(fds);
	number = exec_add(&table, owner, 7, fds, PROTO_STREAMS);
	ck_assert_int_gt(number, 0);
	return (uint32_t)number;
}

static void connect_stream(uint32_t process, enum proto_stream stream)
{
	uint32_t port = proto_stdio_port(process, stream);
	struct vsock_endpoint endpoint = {-1, -1};

	ck_assert_ptr_eq(exec_of_port(&table, port), exec_find(&table, process));
	ck_assert_int_eq(stdio_connect(&exec_find(&table, process)->stdio, port, &endpoint), 0);
	close(endpoint.in_fd >= 0 ? endpoint.in_fd : endpoint.out_fd);
	/* A second time there is nothing to be had. */
	ck_assert_int_eq(stdio_connect(&exec_find(&table, process)->stdio, port, &endpoint),
			 -ECONNREFUSED);
}

START_TEST(an_end_is_told_once_the_output_has_left)
{
	int owner;
	uint32_t process = add(&owner);
	struct stdio *stdio = &exec_find(&table, process)->stdio;
	uint32_t port = proto_stdio_port(process, PROTO_STDOUT);

	connect_stream(process, PROTO_STDOUT);
	stdio_buffered(stdio, port, true);
	/* A guest that is early with the end: it waits for the answer all the same. */
	exec_exited(&table, process, 0x300);
	ck_assert_int_eq(told.count, 0);
	exec_answered(&table, process, true);
	ck_assert_int_eq(told.count, 0);
	stdio_buffered(stdio, port, false);
	exec_settle(&table, process);
	ck_assert_int_eq(told.count, 1);
	ck_assert_ptr_eq(told.owner, &owner);
	ck_assert_uint_eq(told.status, 0x300);
	/* Only once, whatever the guest says. */
	exec_exited(&table, process, 9);
	exec_end_all(&table, 9);
	ck_assert_int_eq(told.count, 1);
}
END_TEST

START_TEST(numbers_go_round_and_wait_for_their_streams)
{
	int fds[PROTO_STREAMS];
	uint32_t first = add(NULL), held;

	ck_assert_uint_eq(first, 1);
	held = first;
	connect_stream(held, PROTO_STDIN);
	exec_answered(&table, held, true);
	exec_exited(&table, held, 0);
	for (uint32_t i = 2; i < PROTO_PROCESS_MAX; i++) {
		uint32_t number = add(NULL);

		ck_assert_uint_eq(number, i);
		if (i % 2)
			exec_answered(&table, number, false);
	}
	/* 1 is over, but the guest has a stream of it open: 3 comes next, which never began. */
	ck_assert_uint_eq(add(NULL), 3);
	for (uint32_t i = 5; i < PROTO_PROCESS_MAX; i += 2)
		ck_assert_uint_eq(add(NULL), i);
	open_three(fds);
	ck_assert_int_eq(exec_add(&table, NULL, 0, fds, PROTO_STREAMS), -EAGAIN);
	for (int i = 0; i < PROTO_STREAMS; i++)
		close(fds[i]);
	stdio_closed(&exec_find(&table, held)->stdio, proto_stdio_port(held, PROTO_STDIN));
	ck_assert_uint_eq(add(NULL), held);
}
END_TEST

START_TEST(the_guest_can_name_no_process_that_is_not_there)
{
	int owner;
	struct vsock_endpoint endpoint;
	uint32_t process;

	ck_assert_ptr_null(exec_of_port(&table, 0));
	ck_assert_ptr_null(exec_of_port(&table, PROTO_PORT_CONTROL));
	ck_assert_ptr_null(exec_of_port(&table, proto_stdio_port(0, PROTO_STDERR)));
	ck_assert_ptr_null(exec_of_port(&table, proto_stdio_port(PROTO_PROCESS_MAX, 0)));
	ck_assert_ptr_null(exec_of_port(&table, UINT32_MAX));
	ck_assert_int_eq(stdio_connect(&exec_find(&table, 9)->stdio,
				       proto_stdio_port(9, PROTO_STDOUT), &endpoint),
			 -ENOENT);
	exec_exited(&table, 0, 0);
	exec_exited(&table, 9, 0);
	exec_exited(&table, UINT32_MAX, 0);
	exec_answered(&table, UINT32_MAX, true);
	exec_settle(&table, UINT32_MAX);
	ck_assert_int_eq(told.count, 0);
	/* The end of the VM is the end of what still ran. */
	process = add(&owner);
	exec_answered(&table, process, true);
	ck_assert_uint_eq(exec_next_of(&table, &owner, 0), process);
	ck_assert_uint_eq(exec_next_of(&table, &owner, process), 0);
	exec_end_all(&table, 9);
	ck_assert_int_eq(told.count, 1);
	ck_assert_uint_eq(told.status, 9);
}
END_TEST

Suite *exec_suite(void)
{
	Suite *suite = suite_create("exec");
	TCase *tcase = tcase_create("exec");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, an_end_is_told_once_the_output_has_left);
	tcase_add_test(tcase, numbers_go_round_and_wait_for_their_streams);
	tcase_add_test(tcase, the_guest_can_name_no_process_that_is_not_there);
	suite_add_tcase(suite, tcase);
	return suite;
}
