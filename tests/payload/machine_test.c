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
#include "vmm/snapshot.h"

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

static int build_machine(struct machine *machine, const struct vmm_options *options,
			 struct error *err)
{
	struct records state;
	int ret;

	if (options->load.state_fd < 0)
		return machine_build(machine, NULL, err);
	ret = snapshot_open_template(&state, &options->load, err);
	if (ret == 0)
		ret = machine_build(machine, &state, err);
	records_destroy(&state);
	return ret;
}

/* Until it switches off after this line; then it is saved, if the options say where. */
static void run_machine(struct vmm_options *options, struct outcome *outcome, const char *last_line)
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
		ret = build_machine(machine, options, &err);
	ck_assert_msg(ret == 0, "%s", err.message);
	ck_assert_msg(machine_start(machine, &err) == 0, "%s", err.message);
	ck_assert_int_eq(loop_run(&outcome->loop), 0);
	machine_stop(machine);
	machine_stop(machine);
	console_ring_tail(machine_console(machine), 5, tail, sizeof(tail));
	ck_assert_msg(outcome->why == MACHINE_POWER_OFF, "ended with %d, %s; console: %s",
		      outcome->why, outcome->detail, tail);
	ck_assert_ptr_nonnull(strstr(tail, last_line));
	ck_assert_uint_eq(outcome->calls, 1);
	machine_marks(machine, &marks);
	ck_assert_uint_ne(marks.vm_created_ns, 0);
	ck_assert_uint_gt(marks.kernel_entered_ns, marks.vm_created_ns);
	if (options->save.state_fd >= 0) {
		ret = machine_save_template(machine, &options->save, &err);
		ck_assert_msg(ret == 0, "%s", err.message);
	}
	machine_destroy(machine);
}

static void fill_options(struct vmm_options *options)
{
	static const uint8_t sectors[4096];
	static char kernel[40], initramfs[40], unused[40];

	*options = (struct vmm_options){
		.cmdline = "payload.test=1",
		.memory_mib = 64,
		.cpus = 2,
		.disk_count = 2,
		.vsock_fd = -1,
		.fs_fd = -1,
		.fs_log_fd = -1,
		.hold_fd = -1,
		.load = {-1, -1},
		.save = {-1, -1},
		.relaxed = JAIL_SECCOMP, /* a test runner does more than a VMM */
	};
	make_file(kernel_image.bytes, (size_t)(kernel_image.end - kernel_image.bytes), kernel,
		  sizeof(kernel));
	make_file("initramfs", 9, initramfs, sizeof(initramfs));
	options->kernel = kernel;
	options->initramfs = initramfs;
	for (unsigned int i = 0; i < options->disk_count; i++)
		options->disks[i].fd = make_file(sectors, sizeof(sectors), unused, sizeof(unused));
}

START_TEST(a_machine_boots_and_switches_off)
{
	struct outcome outcome = {.calls = 0};
	struct vmm_options options;

	fill_options(&options);
	ck_assert_int_eq(loop_init(&outcome.loop), 0);
	run_machine(&options, &outcome, "all is well");
	loop_destroy(&outcome.loop);
}
END_TEST

/* Two of them go on from one, each by itself; the template stays as it is. */
START_TEST(a_saved_machine_goes_on_in_others)
{
	struct vmm_options options;
	struct vmm_template files = {.state_fd = memfd_create("state", 0),
				     .memory_fd = memfd_create("memory", 0),
				     .pages_fd = -1,
				     .boot_mib = 64};

	fill_options(&options);
	options.save = files;
	for (int i = 0; i < 3; i++) {
		struct outcome outcome = {.calls = 0};

		ck_assert_int_eq(loop_init(&outcome.loop), 0);
		run_machine(&options, &outcome, i ? "it went on" : "all is well");
		loop_destroy(&outcome.loop);
		options.save = (struct vmm_template){.state_fd = -1, .memory_fd = -1};
		options.load = files;
	}
}
END_TEST

/* A shape that is not the saved one's is refused before the guest runs, and the same machine boots.
 */
START_TEST(a_machine_of_another_shape_boots)
{
	struct vmm_template files = {.state_fd = memfd_create("state", 0),
				     .memory_fd = memfd_create("memory", 0),
				     .pages_fd = -1,
				     .boot_mib = 64};
	struct outcome outcome = {.calls = 0};
	struct machine_config config = {
		.loop = &outcome.loop, .connect = nobody, .ended = ended, .ctx = &outcome};
	struct vmm_options options;
	struct machine *machine;
	struct records state;

	fill_options(&options);
	options.save = files;
	ck_assert_int_eq(loop_init(&outcome.loop), 0);
	run_machine(&options, &outcome, "all is well");
	loop_destroy(&outcome.loop);

	outcome = (struct outcome){.calls = 0};
	ck_assert_int_eq(loop_init(&outcome.loop), 0);
	fill_options(&options);
	options.load = files;
	options.cpus = 1;
	config.options = &options;
	ck_assert_int_eq(snapshot_open_template(&state, &files, NULL), 0);
	ck_assert_int_eq(machine_create(&machine, &config, NULL), 0);
	ck_assert_int_eq(machine_build(machine, &state, NULL), -ESTALE);
	ck_assert_int_eq(machine_build(machine, NULL, NULL), 0);
	machine_destroy(machine);
	records_destroy(&state);
	loop_destroy(&outcome.loop);
}
END_TEST

START_TEST(memory_that_was_altered_is_refused)
{
	struct vmm_template files = {.state_fd = memfd_create("state", 0),
				     .memory_fd = memfd_create("memory", 0),
				     .pages_fd = -1,
				     .boot_mib = 64};
	struct outcome outcome = {.calls = 0};
	struct vmm_options options;
	struct records state;

	fill_options(&options);
	options.save = files;
	ck_assert_int_eq(loop_init(&outcome.loop), 0);
	run_machine(&options, &outcome, "all is well");
	loop_destroy(&outcome.loop);
	/* The times of files move with the clock's tick. */
	usleep(20000);
	ck_assert_int_eq(pwrite(files.memory_fd, "x", 1, 12345), 1);
	ck_assert_int_eq(snapshot_open_template(&state, &files, NULL), -ESTALE);
	files.boot_mib = 65;
	ck_assert_int_eq(snapshot_open_template(&state, &files, NULL), -ESTALE);
}
END_TEST

Suite *machine_suite(void)
{
	Suite *suite = suite_create("machine");
	TCase *tcase = tcase_create("machine");

	tcase_set_timeout(tcase, PAYLOAD_TIMEOUT_S);
	tcase_add_test(tcase, a_machine_boots_and_switches_off);
	tcase_add_test(tcase, a_saved_machine_goes_on_in_others);
	tcase_add_test(tcase, a_machine_of_another_shape_boots);
	tcase_add_test(tcase, memory_that_was_altered_is_refused);
	suite_add_tcase(suite, tcase);
	return suite;
}
