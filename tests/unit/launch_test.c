/* bulkhead launch: what its options for the network make of the configuration. */
#include <check.h>
#include <string.h>

#include "runtime/launch_config.h"
#include "tests/unit/suites.h"

static struct error err;

static char *no_command[] = {NULL};

/* With the network NET and at most one port. */
static json_t *configure(const char *net, const char *port)
{
	struct launch_options options = {
		.directory = "/root",
		.name = "name",
		.net = net,
		.ports = {port},
		.port_count = port ? 1 : 0,
		.command = no_command,
	};

	error_clear(&err);
	return launch_config(&options, NULL, &err);
}

static const char *annotation(const json_t *config, const char *name)
{
	return json_string_value(json_object_get(json_object_get(config, "annotations"), name));
}

/* The namespace's entry has to be there. */
static const char *namespace_path(const json_t *config)
{
	const json_t *entry;
	size_t i;

	json_array_foreach (json_object_get(json_object_get(config, "linux"), "namespaces"), i,
			    entry)
		if (!strcmp(json_string_value(json_object_get(entry, "type")), "network"))
			return json_string_value(json_object_get(entry, "path"));
	ck_abort_msg("no network namespace");
	return NULL;
}

START_TEST(none_is_an_empty_namespace)
{
	json_t *config = configure(_i ? "none" : NULL, NULL);

	ck_assert_ptr_nonnull(config);
	ck_assert_ptr_null(namespace_path(config));
	ck_assert_ptr_null(annotation(config, "io.bulkhead.net"));
	json_decref(config);
}
END_TEST

START_TEST(user_is_the_setting_with_its_ports)
{
	json_t *config = configure("user", "8080:80/udp");

	ck_assert_ptr_nonnull(config);
	ck_assert_str_eq(annotation(config, "io.bulkhead.net"), "user");
	ck_assert_str_eq(annotation(config, "io.bulkhead.publish"), "8080:80/udp");
	json_decref(config);
	config = configure("user", NULL);
	ck_assert_ptr_nonnull(config);
	ck_assert_ptr_null(annotation(config, "io.bulkhead.publish"));
	json_decref(config);
}
END_TEST

START_TEST(a_namespace_has_a_path)
{
	json_t *config = configure("ns=/run/netns/one", NULL);

	ck_assert_ptr_nonnull(config);
	ck_assert_str_eq(namespace_path(config), "/run/netns/one");
	json_decref(config);
}
END_TEST

START_TEST(a_tap_is_the_setting)
{
	json_t *config = configure("tap=tap0,ip=10.0.0.2/24", NULL);

	ck_assert_ptr_nonnull(config);
	ck_assert_str_eq(annotation(config, "io.bulkhead.tap"), "tap0,ip=10.0.0.2/24");
	json_decref(config);
}
END_TEST

static const struct {
	const char *net, *port, *says;
} wrong[] = {
	{"bridge", NULL, "--net bridge: is not none, user, tap=NAME or ns=/PATH"},
	{"ns=one", NULL, "--net ns=one: is not none, user, tap=NAME or ns=/PATH"},
	{"none", "1:1", "-p 1:1: ports are published with --net user alone"},
	{"ns=/run/netns/one", "1:1", "-p 1:1: ports are published with --net user alone"},
	{"user", "1:1,2:2", "-p 1:1,2:2: is not HOST:GUEST[/udp]"},
};

START_TEST(what_is_wrong_is_named)
{
	ck_assert_ptr_null(configure(wrong[_i].net, wrong[_i].port));
	ck_assert_msg(strstr(err.message, wrong[_i].says) == err.message, "%s", err.message);
}
END_TEST

Suite *launch_suite(void)
{
	Suite *suite = suite_create("launch");
	TCase *tc = tcase_create("launch");

	tcase_add_loop_test(tc, none_is_an_empty_namespace, 0, 2);
	tcase_add_test(tc, user_is_the_setting_with_its_ports);
	tcase_add_test(tc, a_namespace_has_a_path);
	tcase_add_test(tc, a_tap_is_the_setting);
	tcase_add_loop_test(tc, what_is_wrong_is_named, 0, sizeof(wrong) / sizeof(wrong[0]));
	suite_add_tcase(suite, tc);
	return suite;
}
