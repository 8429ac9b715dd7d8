/* A config.json is honoured, refused, or listed: no field goes by unseen. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "runtime/spec_check.h"
#include "tests/unit/suites.h"

static struct error err;
static FILE *log_file;

static json_t *parse(const char *text)
{
	char quoted[1024];
	json_t *value;

	ck_assert_uint_lt(strlen(text), sizeof(quoted));
	for (size_t i = 0; i <= strlen(text); i++)
		quoted[i] = text[i] == '\'' ? '"' : text[i];
	value = json_loads(quoted, JSON_DECODE_ANY, NULL);
	ck_assert_msg(value != NULL, "no JSON: %s", text);
	return value;
}

/* Puts value at "a.b.c" of config; a step "x[]" is an array with one object. */
static void put(json_t *config, const char *path, json_t *value)
{
	char copy[128], *save = NULL;
	json_t *at = config;

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *step = strtok_r(copy, ".", &save); step;) {
		char *next = strtok_r(NULL, ".", &save);
		char *brackets = strstr(step, "[]");
		json_t *child;

		if (!next) {
			json_object_set_new(at, step, value);
			return;
		}
		if (brackets)
			*brackets = '\0';
		child = json_object_get(at, step);
		if (!child) {
			child = brackets ? json_pack("[{}]") : json_object();
			json_object_set_new(at, step, child);
		}
		at = brackets ? json_array_get(child, 0) : child;
		step = next;
	}
}

static json_t *smallest(void)
{
	return parse("{'ociVersion': '1.0.2', 'root': {'path': 'rootfs'},"
		     " 'process': {'args': ['sh'], 'cwd': '/'},"
		     " 'mounts': [{'destination': '/x'}],"
		     " 'linux': {'seccomp': {'defaultAction': 'SCMP_ACT_ALLOW'}}}");
}

static int check_with(const char *path, const char *value)
{
	json_t *config = smallest();
	int ret;

	put(config, path, parse(value));
	error_clear(&err);
	ret = spec_check(config, &err);
	json_decref(config);
	return ret;
}

static bool was_logged(const char *text)
{
	char line[4096];
	size_t len;

	rewind(log_file);
	len = fread(line, 1, sizeof(line) - 1, log_file);
	line[len] = '\0';
	return strstr(line, text) != NULL;
}

static void open_log(void)
{
	log_file = tmpfile();
	ck_assert_ptr_nonnull(log_file);
	log_open(fileno(log_file), false, LOG_LEVEL_INFO);
}

static void close_log(void)
{
	log_open(STDERR_FILENO, false, LOG_LEVEL_INFO);
	fclose(log_file);
}

static const struct {
	const char *path, *value, *nothing;
} refused[] = {
	{"windows", "{'layerFolders': ['x']}", "{}"},
	{"vm", "{'kernel': {'path': '/k'}}", "null"},
	{"process.commandLine", "'dir'", "''"},
	{"process.execCPUAffinity", "{'initial': '0'}", "null"},
	{"process.user.username", "'bob'", "''"},
	{"process.apparmorProfile", "'my-own'", "''"},
	{"mounts[].uidMappings", "[{'hostID': 1}]", "[]"},
	{"mounts[].gidMappings", "[{'hostID': 1}]", "null"},
	{"linux.intelRdt", "{'closID': 'x'}", "null"},
	{"linux.memoryPolicy", "{'mode': 'MPOL_BIND'}", "null"},
	{"linux.netDevices", "{'eth0': {}}", "{}"},
	{"linux.timeOffsets", "{'boottime': {'secs': 1}}", "{}"},
	{"linux.resources.memory.disableOOMKiller", "true", "false"},
	{"linux.resources.cpu.realtimeRuntime", "1000", "0"},
	{"linux.resources.blockIO.leafWeight", "100", "0"},
	{"linux.resources.blockIO.weightDevice", "[{'major': 8}]", "[]"},
	{"linux.resources.network.classID", "1048577", "0"},
	{"linux.resources.network.priorities", "[{'name': 'eth0'}]", "[]"},
	{"linux.seccomp.listenerPath", "'/run/s'", "''"},
	{"hooks.later", "[]", NULL},
};

START_TEST(what_a_vm_cannot_have_is_refused_unless_it_says_nothing)
{
	char begin[80];

	snprintf(begin, sizeof(begin), "%s:", refused[_i].path);
	open_log();
	ck_assert_int_lt(check_with(refused[_i].path, refused[_i].value), 0);
	ck_assert_msg(!strncmp(err.message, begin, strlen(begin)), "%s", err.message);
	if (refused[_i].nothing)
		ck_assert_msg(check_with(refused[_i].path, refused[_i].nothing) == 0, "%s",
			      err.message);
	close_log();
}
END_TEST

START_TEST(a_namespace_that_comes_twice_is_refused)
{
	ck_assert_int_eq(check_with("linux.namespaces", "[{'type': 'pid'}, {'type': 'network'}]"),
			 0);
	ck_assert_int_eq(check_with("linux.namespaces",
				    "[{'type': 'network'}, {'type': 'pid'}, "
				    "{'type': 'network', 'path': '/run/netns/a'}]"),
			 -EINVAL);
	ck_assert_str_eq(err.message,
			 "linux.namespaces[2].type: there is a network namespace already");
}
END_TEST

static const struct {
	const char *path, *value;
} accepted[] = {
	{"process.apparmorProfile", "'docker-default'"},
	{"process.apparmorProfile", "'containers-default-0.50.1'"},
	{"process.selinuxLabel", "'system_u:system_r:container_t:s0'"},
	{"linux.mountLabel", "'system_u:object_r:container_file_t:s0'"},
	{"linux.resources.hugepageLimits", "[{'pageSize': '2MB', 'limit': 0}]"},
	{"linux.resources.memory.swappiness", "60"},
	{"linux.resources.rdma", "{'mlx5_1': {'hcaHandles': 3}}"},
	{"linux.resources.devices", "[{'allow': false, 'access': 'rwm', 'major': 1}]"},
	{"linux.resources.unified", "{'io.weight': '100'}"},
	{"process.ioPriority", "{'class': 'IOPRIO_CLASS_BE', 'priority': 4}"},
	{"process.scheduler", "{'policy': 'SCHED_BATCH', 'nice': 5}"},
	{"linux.personality", "{'domain': 'LINUX32'}"},
	{"linux.sysctl", "{'net.anything.at_all': '1'}"},
	{"annotations", "{'any.thing': 'x'}"},
	{"hooks.prestart", "[{'path': '/bin/true', 'args': ['a'], 'env': ['A=b'], 'timeout': 1}]"},
};

START_TEST(what_is_honoured_or_listed_passes_without_a_word)
{
	open_log();
	ck_assert_msg(check_with(accepted[_i].path, accepted[_i].value) == 0, "%s", err.message);
	ck_assert(!was_logged("warning"));
	close_log();
}
END_TEST

START_TEST(what_no_specification_has_is_ignored_with_a_warning)
{
	static const char *const paths[] = {
		"foo",		"process.foo", "process.user.foo",	  "root.foo",
		"mounts[].foo", "linux.foo",   "linux.resources.cpu.foo", "linux.seccomp.foo"};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		char warning[80];

		open_log();
		ck_assert_msg(check_with(paths[i], "{'x': 1}") == 0, "%s", err.message);
		snprintf(warning, sizeof(warning), "%s is not a field of the specification",
			 paths[i]);
		ck_assert(was_logged(warning));
		close_log();
	}
}
END_TEST

Suite *spec_suite(void)
{
	Suite *suite = suite_create("spec");
	TCase *tc = tcase_create("fields");

	tcase_add_test(tc, a_namespace_that_comes_twice_is_refused);
	tcase_add_loop_test(tc, what_a_vm_cannot_have_is_refused_unless_it_says_nothing, 0,
			    sizeof(refused) / sizeof(refused[0]));
	tcase_add_loop_test(tc, what_is_honoured_or_listed_passes_without_a_word, 0,
			    sizeof(accepted) / sizeof(accepted[0]));
	tcase_add_test(tc, what_no_specification_has_is_ignored_with_a_warning);
	suite_add_tcase(suite, tc);
	return suite;
}
