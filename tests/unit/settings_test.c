/* Bulkhead's settings, from a file and from annotations, and the size of a VM that comes of them.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/pin.h"
#include "runtime/settings.h"
#include "runtime/vm_size.h"
#include "tests/unit/suites.h"

static struct error err;

static json_t *parse(const char *text)
{
	char quoted[4096];
	json_t *value;

	ck_assert_uint_lt(strlen(text), sizeof(quoted));
	for (size_t i = 0; i <= strlen(text); i++)
		quoted[i] = text[i] == '\'' ? '"' : text[i];
	value = json_loads(quoted, 0, NULL);
	ck_assert_msg(value != NULL, "no JSON: %s", text);
	return value;
}

static int load(struct settings *settings, const char *text)
{
	char path[] = "/tmp/bulkhead-settings.XXXXXX";
	int fd = mkstemp(path);
	json_t *value = parse(text);
	int ret;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(json_dumpfd(value, fd, JSON_ENCODE_ANY), 0);
	json_decref(value);
	close(fd);
	error_clear(&err);
	ret = settings_load(settings, path, &err);
	unlink(path);
	return ret;
}

static int annotate(struct settings *settings, const char *annotations)
{
	json_t *config = json_pack("{s:o}", "annotations", parse(annotations));
	int ret;

	error_clear(&err);
	ret = settings_annotate(settings, config, &err);
	json_decref(config);
	return ret;
}

START_TEST(a_file_of_every_setting)
{
	struct settings settings = {0};

	ck_assert_int_eq(load(&settings,
			      "{'memory': 512, 'vcpus': 2, 'kernel': '/k', 'initramfs': '/i',"
			      " 'vmm': '/v', 'kernel-cmdline': 'a b', 'agent-timeout': 5,"
			      " 'debug': true, 'isolation': 'process', 'process-runtime': 'crun',"
			      " 'annotations': ['memory', 'vcpus']}"),
			 0);
	ck_assert_uint_eq(settings_number(&settings, "memory"), 512);
	ck_assert_uint_eq(settings_annotated_number(&settings, "memory"), 0);
	ck_assert_str_eq(settings_text(&settings, "kernel"), "/k");
	ck_assert_str_eq(settings_text(&settings, "isolation"), "process");
	ck_assert(settings_true(&settings, "debug"));

	ck_assert_int_eq(annotate(&settings, "{'io.bulkhead.memory': '128', 'other': 'x'}"), 0);
	ck_assert_uint_eq(settings_number(&settings, "memory"), 128);
	ck_assert_uint_eq(settings_annotated_number(&settings, "memory"), 128);
	ck_assert_uint_eq(settings_number(&settings, "vcpus"), 2);
	/* Not in the list of what containers may set. */
	ck_assert_int_eq(annotate(&settings, "{'io.bulkhead.kernel': '/mine'}"), -EPERM);
	ck_assert_ptr_nonnull(strstr(err.message, "annotation io.bulkhead.kernel"));
	settings_destroy(&settings);
}
END_TEST

static const struct {
	const char *file, *message;
} wrong_files[] = {
	{"[]", "must be an object"},
	{"{'memori': 1}", "unknown setting \"memori\""},
	{"{'memory': 63}", "memory: \"63\" is not a number from 64 to 1048576"},
	{"{'memory': '64'}", "memory: \"64\" is not a number from 64 to 1048576"},
	{"{'vcpus': 65}", "vcpus: \"65\" is not a number from 1 to 64"},
	{"{'kernel': 'vmlinux'}", "kernel: must be an absolute path"},
	{"{'kernel-cmdline': 5}", "kernel-cmdline: must be a string"},
	{"{'isolation': 'none'}", "isolation: \"none\" is not vm or process"},
	{"{'isolation': 1}", "isolation: \"\" is not vm or process"},
	{"{'net-vhost': 'yes'}", "net-vhost: \"yes\" is not off, auto or on"},
	{"{'debug': 'yes'}", "debug: must be true or false"},
	{"{'annotations': 'memory'}", "annotations: must be an array of names"},
	{"{'annotations': ['vmm']}", "annotations: \"vmm\" is not the name of an annotation"},
	{"{'annotations': [1]}", "annotations: \"\" is not the name of an annotation"},
};

START_TEST(files_that_are_wrong)
{
	struct settings settings = {0};

	ck_assert_int_lt(load(&settings, wrong_files[_i].file), 0);
	ck_assert_msg(strstr(err.message, wrong_files[_i].message) != NULL, "%s", err.message);
	settings_destroy(&settings);
}
END_TEST

static const struct {
	const char *annotations, *message;
} wrong_annotations[] = {
	{"{'io.bulkhead.what': '1'}", "annotation io.bulkhead.what: there is no such setting"},
	{"{'io.bulkhead.vmm': '/bin/sh'}", "annotation io.bulkhead.vmm: there is no such setting"},
	{"{'io.bulkhead.annotations': '[]'}", "io.bulkhead.annotations: there is no such setting"},
	{"{'io.bulkhead.memory': '1g'}", "io.bulkhead.memory: \"1g\" is not a number from 64"},
	{"{'io.bulkhead.memory': '-64'}", "io.bulkhead.memory: \"-64\" is not a number"},
	{"{'io.bulkhead.memory': ' 64'}", "io.bulkhead.memory: \" 64\" is not a number"},
	{"{'io.bulkhead.memory': '18446744073709551680'}", "is not a number from 64"},
	{"{'io.bulkhead.vcpus': ''}", "io.bulkhead.vcpus: \"\" is not a number from 1 to 64"},
	{"{'io.bulkhead.isolation': 'hard'}", "\"hard\" is not vm or process"},
	/* What puts more of the host's kernel before a guest, the host has to name. */
	{"{'io.bulkhead.net-vhost': 'on'}", "net-vhost: this host's settings do not allow it"},
};

START_TEST(annotations_that_are_wrong)
{
	struct settings settings = {0};

	ck_assert_int_lt(annotate(&settings, wrong_annotations[_i].annotations), 0);
	ck_assert_msg(strstr(err.message, wrong_annotations[_i].message) != NULL, "%s",
		      err.message);
	settings_destroy(&settings);
}
END_TEST

START_TEST(the_usual_file_need_not_exist)
{
	struct settings settings = {0};

	error_clear(&err);
	if (access(SETTINGS_FILE, F_OK) < 0)
		ck_assert_int_eq(settings_load(&settings, NULL, &err), 0);
	ck_assert_int_eq(settings_load(&settings, "/nonexistent", &err), -ENOENT);
	settings_destroy(&settings);
}
END_TEST

START_TEST(lists_of_cpus)
{
	ck_assert_int_eq(cpu_list_count(""), 0);
	ck_assert_int_eq(cpu_list_count("0"), 1);
	ck_assert_int_eq(cpu_list_count("0-2,7"), 4);
	ck_assert_int_eq(cpu_list_count("3,1-1"), 2);
	ck_assert_int_eq(cpu_list_count("2-1"), -EINVAL);
	ck_assert_int_eq(cpu_list_count("a"), -EINVAL);
	ck_assert_int_eq(cpu_list_count("1-"), -EINVAL);
	ck_assert_int_eq(cpu_list_count("-1"), -EINVAL);
	ck_assert_int_eq(cpu_list_count("1 2"), -EINVAL);
	ck_assert_int_eq(cpu_list_count("0-99999999"), -EINVAL);
	ck_assert_int_eq(cpu_list_at("7,0-2,5", 0), 7);
	ck_assert_int_eq(cpu_list_at("7,0-2,5", 3), 2);
	ck_assert_int_eq(cpu_list_at("7,0-2,5", 4), 5);
	ck_assert_int_eq(cpu_list_at("7,0-2,5", 5), -EINVAL);
	ck_assert_int_eq(cpu_list_at("", 0), -EINVAL);
}
END_TEST

START_TEST(a_cpu_for_each_vcpu)
{
	error_clear(&err);
	ck_assert_int_eq(pin_check(NULL, 4, &err), 0);
	ck_assert_int_eq(pin_check("3,1", 2, &err), 0);
	ck_assert_int_eq(pin_check("3,1", 3, &err), -EINVAL);
	ck_assert_str_eq(err.message, "io.bulkhead.pin: \"3,1\" names 2 CPUs, the VM has 3");
	error_clear(&err);
	ck_assert_int_eq(pin_check("1;2", 1, &err), -EINVAL);
	ck_assert_str_eq(err.message, "io.bulkhead.pin: \"1;2\" is not a list of CPUs");
}
END_TEST

static pthread_barrier_t stage;

/* Is called as a vCPU's thread until it has been looked at. */
static void *play_vcpu(void *name)
{
	pthread_setname_np(pthread_self(), name);
	pthread_barrier_wait(&stage);
	pthread_barrier_wait(&stage);
	return NULL;
}

static int only_cpu_of(pthread_t thread)
{
	cpu_set_t set;

	ck_assert_int_eq(pthread_getaffinity_np(thread, sizeof(set), &set), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set) && CPU_COUNT(&set) == 1)
			return cpu;
	return -1;
}

START_TEST(vcpus_stay_on_their_cpus)
{
	pthread_t threads[3];
	cpu_set_t before, after;
	int first = -1, last = -1;
	char list[32];

	ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &before)) {
			first = first < 0 ? cpu : first;
			last = cpu;
		}
	pthread_barrier_init(&stage, NULL, 4);
	pthread_create(&threads[0], NULL, play_vcpu, "vcpu0");
	pthread_create(&threads[1], NULL, play_vcpu, "vcpu1");
	pthread_create(&threads[2], NULL, play_vcpu, "disk0");
	pthread_barrier_wait(&stage);
	snprintf(list, sizeof(list), "%d,%d", last, first);
	error_clear(&err);
	ck_assert_msg(pin_apply(getpid(), list, &err) == 0, "%s", err.message);
	ck_assert_int_eq(only_cpu_of(threads[0]), last);
	ck_assert_int_eq(only_cpu_of(threads[1]), first);
	pthread_getaffinity_np(threads[2], sizeof(after), &after);
	ck_assert(CPU_EQUAL(&before, &after));
	ck_assert_int_eq(pin_apply(getpid(), "8000,8001", &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.message, "cannot have CPU 800"));
	pthread_barrier_wait(&stage);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}
END_TEST

/* resources: of the config; annotations: NULL for none. */
static struct vm_size size_of(const char *resources, const char *annotations, const char *file)
{
	struct settings settings = {0};
	struct bundle bundle = {.rootfs_fd = -1};
	struct vm_size size = {0};

	bundle.config = json_pack("{s:{s:o}}", "linux", "resources", parse(resources));
	if (file)
		ck_assert_int_eq(load(&settings, file), 0);
	if (annotations)
		ck_assert_int_eq(annotate(&settings, annotations), 0);
	error_clear(&err);
	ck_assert_msg(vm_size_find(&size, &bundle, &settings, &err) == 0, "%s", err.message);
	json_decref(bundle.config);
	settings_destroy(&settings);
	return size;
}

START_TEST(memory_of_a_vm)
{
	ck_assert_uint_eq(size_of("{}", NULL, NULL).memory_mib, 256);
	ck_assert_uint_eq(size_of("{}", NULL, "{'memory': 300}").memory_mib, 300);
	/* A limit is the workload's: the guest gets more. */
	ck_assert_uint_eq(size_of("{'memory': {'limit': 134217728}}", NULL, NULL).memory_mib,
			  128 + 40 + 4);
	ck_assert_uint_eq(size_of("{'memory': {'limit': 1}}", NULL, NULL).memory_mib, 64);
	ck_assert_uint_eq(size_of("{'memory': {'limit': -1}}", NULL, NULL).memory_mib, 256);
	/* What the container says of itself goes before. */
	ck_assert_uint_eq(size_of("{'memory': {'limit': 134217728}}",
				  "{'io.bulkhead.memory': '90'}", "{'memory': 300}")
				  .memory_mib,
			  90);
	/* The host's limit leaves room for the VMM. */
	ck_assert_uint_eq(vm_size_host_memory(&(struct vm_size){.memory_mib = 320}),
			  (320ull + 64 + 10) << 20);
}
END_TEST

START_TEST(a_template_serves_many_sizes)
{
	static const struct {
		uint32_t memory, max, boot, room;
	} cases[] = {
		{64, 0, 64, 128},	{94, 0, 64, 128},     {96, 0, 96, 128},
		{105, 0, 96, 128},	{254, 0, 192, 128},   {256, 0, 256, 128},
		{300, 0, 256, 128},	{382, 0, 256, 128},   {384, 0, 384, 128},
		{700, 0, 512, 256},	{1024, 0, 1024, 512}, {1534, 0, 1024, 512},
		{1536, 0, 1536, 512},	{256, 100, 256, 128}, {256, 1000, 256, 768},
		{700, 4096, 512, 3584},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vm_size size = {.memory_mib = cases[i].memory,
				       .memory_max_mib = cases[i].max};

		vm_size_shared_template(&size);
		ck_assert_uint_eq(size.boot_mib, cases[i].boot);
		ck_assert_uint_eq(size.room_mib, cases[i].room);
		/* Only its last MiB may be one that no block ends at. */
		ck_assert_uint_eq(size.memory_mib, (cases[i].memory + 1) & ~1u);
		ck_assert_uint_le(size.memory_mib, size.boot_mib + size.room_mib);
		/* One of its own is the same where nothing has to come. */
		vm_size_own_template(&size);
		ck_assert_uint_eq(size.boot_mib, size.memory_mib);
		if (size.memory_mib == cases[i].boot)
			ck_assert_uint_eq(size.room_mib, cases[i].room);
		else
			ck_assert_uint_eq(size.room_mib, cases[i].max ? 3456 : 0);
	}
}
END_TEST

START_TEST(cpus_of_a_vm)
{
	uint32_t online = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);

	ck_assert_uint_eq(size_of("{}", NULL, NULL).vcpus, 1);
	ck_assert_uint_eq(size_of("{'cpu': {'quota': 50000}}", NULL, NULL).vcpus, 1);
	ck_assert_uint_eq(size_of("{'cpu': {'quota': 9000000, 'period': 1000}}", NULL, NULL).vcpus,
			  online > 64 ? 64 : online);
	ck_assert_uint_eq(size_of("{'cpu': {'quota': 900000, 'cpus': '0'}}", NULL, NULL).vcpus, 1);
	ck_assert_uint_eq(size_of("{}", "{'io.bulkhead.vcpus': '3'}", NULL).vcpus, 3);
	if (online > 1) {
		ck_assert_uint_eq(size_of("{'cpu': {'quota': 150000}}", NULL, NULL).vcpus, 2);
		ck_assert_uint_eq(size_of("{'cpu': {'cpus': '0-1'}}", NULL, NULL).vcpus, 2);
		ck_assert_uint_eq(size_of("{}", NULL, "{'vcpus': 2}").vcpus, 2);
	}
}
END_TEST

Suite *settings_suite(void)
{
	Suite *suite = suite_create("settings");
	TCase *tc = tcase_create("settings");

	tcase_add_test(tc, a_file_of_every_setting);
	tcase_add_loop_test(tc, files_that_are_wrong, 0,
			    sizeof(wrong_files) / sizeof(wrong_files[0]));
	tcase_add_loop_test(tc, annotations_that_are_wrong, 0,
			    sizeof(wrong_annotations) / sizeof(wrong_annotations[0]));
	tcase_add_test(tc, the_usual_file_need_not_exist);
	tcase_add_test(tc, lists_of_cpus);
	tcase_add_test(tc, a_cpu_for_each_vcpu);
	tcase_add_test(tc, vcpus_stay_on_their_cpus);
	tcase_add_test(tc, memory_of_a_vm);
	tcase_add_test(tc, a_template_serves_many_sizes);
	tcase_add_test(tc, cpus_of_a_vm);
	suite_add_tcase(suite, tc);
	return suite;
}
