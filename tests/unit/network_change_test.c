/* What a guest is told when its network namespace has changed. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "runtime/network_internal.h"
#include "tests/unit/suites.h"

#define ETH0(addresses) \
	"{'nic':0,'name':'eth0','mac':'02:00:00:00:00:01','mtu':1500,'addresses':[" addresses "]}"
#define ETH1 \
	"{'nic':1,'name':'eth1','mac':'02:00:00:00:00:02','addresses':[{'address':'10.1.0.2'}]}"
#define ONE  "{'address':'10.0.0.2','prefix':24}"
#define TWO  "{'address':'10.0.0.3','prefix':32}"
#define VIA0 "{'family':4,'hops':[{'dev':'eth0','via':'10.0.0.1'}]}"
#define VIA1 "{'family':4,'hops':[{'dev':'eth1','via':'10.1.0.1'}]}"

/* Single quotes stand for double ones. */
static json_t *parse(const char *text)
{
	char copy[1024];
	json_t *json;

	ck_assert_uint_lt(strlen(text), sizeof(copy));
	strcpy(copy, text);
	for (char *at = copy; *at; at++)
		if (*at == '\'')
			*at = '"';
	json = json_loads(copy, 0, NULL);
	ck_assert_msg(json != NULL, "%s", copy);
	return json;
}

static json_t *body(const char *interfaces, const char *routes)
{
	char text[1024];

	snprintf(text, sizeof(text), "{'interfaces':[%s],'routes':[%s],'neighbours':[],'rules':[]}",
		 interfaces, routes);
	return parse(text);
}

static json_t *change(json_t *from, json_t *to)
{
	json_t *result = network_change(from, to);

	json_decref(from);
	json_decref(to);
	return result;
}

static void check_list(const json_t *object, const char *key, const char *expected)
{
	json_t *wanted = parse(expected);

	ck_assert_msg(json_equal(json_object_get(object, key), wanted), "%s is not %s", key,
		      expected);
	json_decref(wanted);
}

START_TEST(nothing_is_said_of_nothing)
{
	ck_assert_ptr_null(change(body(ETH0(ONE), VIA0), body(ETH0(ONE), VIA0)));
}
END_TEST

START_TEST(a_new_interface_comes_whole_with_its_routes)
{
	json_t *said = change(body(ETH0(ONE), VIA0), body(ETH0(ONE) "," ETH1, VIA0 "," VIA1));

	ck_assert(json_is_true(json_object_get(said, "change")));
	check_list(said, "interfaces", "[" ETH1 "]");
	check_list(said, "addresses", "[]");
	check_list(said, "routes", "[" VIA1 "]");
	check_list(json_object_get(said, "gone"), "routes", "[]");
	json_decref(said);
}
END_TEST

START_TEST(what_is_known_says_what_differs)
{
	json_t *said = change(body(ETH0(ONE), VIA0), body(ETH0(TWO), ""));

	check_list(said, "interfaces", "[]");
	check_list(said, "addresses", "[{'address':'10.0.0.3','prefix':32,'dev':'eth0'}]");
	check_list(json_object_get(said, "gone"), "addresses",
		   "[{'address':'10.0.0.2','prefix':24,'dev':'eth0'}]");
	check_list(json_object_get(said, "gone"), "routes", "[" VIA0 "]");
	json_decref(said);
}
END_TEST

START_TEST(an_interface_that_has_gone_takes_its_addresses_along)
{
	json_t *said = change(body(ETH0(ONE) "," ETH1, VIA1), body(ETH0(ONE), ""));

	check_list(json_object_get(said, "gone"), "addresses", "[]");
	check_list(json_object_get(said, "gone"), "routes", "[" VIA1 "]");
	json_decref(said);
}
END_TEST

Suite *network_change_suite(void)
{
	Suite *suite = suite_create("network_change");
	TCase *tc = tcase_create("network_change");

	tcase_add_test(tc, nothing_is_said_of_nothing);
	tcase_add_test(tc, a_new_interface_comes_whole_with_its_routes);
	tcase_add_test(tc, what_is_known_says_what_differs);
	tcase_add_test(tc, an_interface_that_has_gone_takes_its_addresses_along);
	suite_add_tcase(suite, tc);
	return suite;
}
