/* The whole machine, with a program in the kernel's place that checks what it was given. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/payload/payload.h"
#include "tests/payload/suites.h"
#include "vmm/jail.h"
#include "vmm/machine.h"

PAYLOAD_IMAGE(kernel);

struct outcome {
	struct loop loop;
	unsigned int calls;
	enum machine_end why;
	char detail[200];
};

static void ended(void *ctx, enum machine_end why, const char *detail)
{
	struct outcome *outcome = ctx;

	outcome->calls++;
	outcome->why = why;
	snprintf(outcome->detail, sizeof(outcome->detail), "%s", detail);
	loop_stop(&outcome->loop);
}

static int nobody(void *ctx, uint32_t port, struct vsock_endpoint *endpoint)
{
	(void)ctx;
	(void)port;
	(void)endpoint;
	return -ECONNREFUSED;
}

/* Its path is what is given to the machine. */
static int make_file(const void *bytes, size_t len, char *path, size_t size)
{
	int fd = memfd_create("file", 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
	snprintf(path, size, "/proc/self/fd/%d", fd);
	return fd;
}

static void run_machine(struct vmm_options *options, struct outcome *outcome)
{
	struct machine_config config = {
		.options = options,
		.loop = &outcome->loop,
		.connect = nobody,
		.ended = ended,
		.ctx = outcome,
	};
	struct machine_marks marks;
	struct machine *machine;
	struct error err = {0};
	char tail[400];
	int ret;

	ret = machine_create(&machine, &config, &err);
	if (ret == 0)
		ret = machine_build(machine, NULL, &err);
	ck_assert_msg(ret == 0, "%s", err.message);
	ck_assert_msg(machine_start(machine, &err) == 0, "%s", err.message);
	ck_assert_int_eq(loop_run(&outcome->loop), 0);
	machine_stop(machine);
	machine_stop(machine);
	console_ring_tail(machine_console(machine), 5, tail, sizeof(tail));
	ck_assert_msg(outcome->why == MACHINE_POWER_OFF, "ended with %d, %s; console: %s",
		      outcome->why, outcome->detail, tail);
	ck_assert_ptr_nonnull(strstr(tail, "all is well"));
	ck_assert_uint_eq(outcome->calls, 1);
	machine_marks(machine, &marks);
	ck_assert_uint_ne(marks.vm_created_ns, 0);
	ck_assert_uint_gt(marks.kernel_entered_ns, marks.vm_created_ns);
	machine_destroy(machine);
}

START_TEST(a_machine_boots_and_switches_off)
{
	static const uint8_t sectors[4096];
	struct outcome outcome = {.calls = 0};
	struct vmm_options options = {
		.cmdline = "payload.test=1",
		.memory_mib = 64,
		.cpus = 2,
		.disk_count = 2,
		.vsock_fd = -1,
		.relaxed = JAIL_SECCOMP, /* a test runner does more than a VMM */
	};
	char kernel[40], initramfs[40], unused[40];

	make_file(kernel_image.bytes, (size_t)(kernel_image.end - kernel_image.bytes), kernel,
		  sizeof(kernel));
	make_file("initramfs", 9, initramfs, sizeof(initramfs));
	options.kernel = kernel;
	options.initramfs = initramfs;
	for (unsigned int i = 0; i < options.disk_count; i++)
		options.disks[i].fd = make_file(sectors, sizeof(sectors), unused, sizeof(unused));
	ck_assert_int_eq(loop_init(&outcome.loop), 0);
	run_machine(&options, &outcome);
	loop_destroy(&outcome.loop);
}
END_TEST

Suite *machine_suite(void)
{
	Suite *suite = suite_create("machine");
	TCase *tcase = tcase_create("machine");

	tcase_set_timeout(tcase, PAYLOAD_TIMEOUT_S);
	tcase_add_test(tcase, a_machine_boots_and_switches_off);
	suite_add_tcase(suite, tcase);
	return suite;
}
