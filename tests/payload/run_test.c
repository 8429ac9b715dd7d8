/* The run loop: a vCPU enters the guest and comes out for every reason it can have. */
#include <string.h>

#include "tests/payload/payload.h"
#include "tests/payload/suites.h"
#include "vmm/probe.h"

PAYLOAD_IMAGE(run);

static void init(struct payload *payload, enum payload_mode mode, enum payload_run_case arg)
{
	payload_init(payload, &run_image, mode);
	payload->mailbox->arg = arg;
}

static const struct {
	enum payload_run_case arg;
	enum machine_end end;
	const char *detail;
} ends[] = {
	{RUN_POWER_OFF, MACHINE_POWER_OFF, "power off"},
	{RUN_RESET, MACHINE_RESET, "reset"},
	{RUN_PANIC, MACHINE_PANIC, "panic"},
	{RUN_TRIPLE_FAULT, MACHINE_TRIPLE_FAULT, "triple fault"},
};

START_TEST(every_end_is_told_from_the_others)
{
	struct payload payload;

	init(&payload, PAYLOAD_USER, ends[_i].arg);
	payload_start(&payload);
	ck_assert_int_eq(payload_wait_end(&payload), ends[_i].end);
	ck_assert_ptr_nonnull(strstr(payload.end_detail, ends[_i].detail));
	ck_assert_uint_ne(payload.machine.first_run_ns, 0);
	payload_destroy(&payload);
}
END_TEST

/* KVM has no instruction to go on with and cannot say it to a guest in kernel mode. */
START_TEST(a_guest_that_kvm_gives_up_ends_with_an_error)
{
	struct payload payload;

	init(&payload, PAYLOAD_KERNEL, RUN_NO_CODE);
	payload_start(&payload);
	ck_assert_int_eq(payload_wait_end(&payload), MACHINE_KVM_ERROR);
	ck_assert_ptr_nonnull(strstr(payload.end_detail, "rip 0xd0210000"));
	payload_destroy(&payload);
}
END_TEST

START_TEST(a_stop_gets_a_busy_guest_out)
{
	struct payload payload;
	uint64_t before;

	init(&payload, PAYLOAD_USER, RUN_SPIN);
	payload_start(&payload);
	payload_wait_arrived(&payload);
	payload_stop(&payload);
	before = payload.mailbox->values[0];
	ck_assert_int_eq(payload.end, MACHINE_RUNNING);
	/* Out is out, and stopping twice is harmless. */
	payload_stop(&payload);
	ck_assert_uint_eq(payload.mailbox->values[0], before);
	payload_destroy(&payload);
}
END_TEST

START_TEST(a_stop_gets_a_halted_guest_out)
{
	struct payload payload;

	init(&payload, PAYLOAD_KERNEL, RUN_HALT);
	payload_start(&payload);
	payload_wait_arrived(&payload);
	payload_stop(&payload);
	ck_assert_int_eq(payload.end, MACHINE_RUNNING);
	payload_destroy(&payload);
}
END_TEST

/* Wherever the thread is on its way into KVM_RUN: a kick that is lost would be a test that hangs.
 */
START_TEST(no_stop_is_lost)
{
	struct payload payload;

	init(&payload, PAYLOAD_USER, RUN_SPIN);
	for (int i = 0; i < 300; i++) {
		atomic_store(&payload.machine.stopping, false);
		payload.vcpu.run->immediate_exit = 0;
		payload_start(&payload);
		for (volatile int delay = 0; delay < i * 100; delay++)
			;
		payload_stop(&payload);
	}
	payload_destroy(&payload);
}
END_TEST

START_TEST(early_console_output_is_kept)
{
	struct payload payload;
	char tail[100];

	init(&payload, PAYLOAD_USER, RUN_CONSOLE);
	payload_run(&payload);
	console_ring_tail(&payload.console, 5, tail, sizeof(tail));
	ck_assert_ptr_nonnull(strstr(tail, "a line from the guest"));
	payload_destroy(&payload);
}
END_TEST

/* Either answer is right somewhere; what counts is that there is one, and why. */
START_TEST(the_probe_decides)
{
	struct error err = {0};
	int ret = probe_host(&err);

	ck_assert_msg(ret == 0 || ret == -ENOTSUP, "%d: %s", ret, err.message);
	ck_assert_int_eq(err.message[0] == '\0', ret == 0);
}
END_TEST

Suite *run_suite(void)
{
	Suite *suite = suite_create("run loop");
	TCase *tcase = tcase_create("run loop");

	tcase_set_timeout(tcase, PAYLOAD_TIMEOUT_S);
	tcase_add_loop_test(tcase, every_end_is_told_from_the_others, 0,
			    sizeof(ends) / sizeof(ends[0]));
	tcase_add_test(tcase, a_guest_that_kvm_gives_up_ends_with_an_error);
	tcase_add_test(tcase, a_stop_gets_a_busy_guest_out);
	tcase_add_test(tcase, a_stop_gets_a_halted_guest_out);
	tcase_add_test(tcase, no_stop_is_lost);
	tcase_add_test(tcase, early_console_output_is_kept);
	tcase_add_test(tcase, the_probe_decides);
	suite_add_tcase(suite, tcase);
	return suite;
}
