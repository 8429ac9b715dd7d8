/* What a guest has to be told when its network namespace has changed: the difference of two
 * descriptions. */
#include "runtime/network_internal.h"

static bool is_in(const json_t *item, const json_t *list)
{
	json_t *other;
	size_t i;

	json_array_foreach ((json_t *)list, i, other)
		if (json_equal(item, other))
			return true;
	return false;
}

/* What of the one list is not in the other. */
static json_t *difference(const json_t *list, const json_t *other)
{
	json_t *left = json_array(), *item;
	size_t i;

	json_array_foreach ((json_t *)list, i, item)
		if (!is_in(item, other))
			json_array_append(left, item);
	return left;
}

/* The same interface: in the same NIC, with the same name and address. */
static const json_t *find_interface(const json_t *body, const json_t *interface)
{
	static const char *const same[] = {"nic", "name", "mac"};
	json_t *other;
	size_t i;

	json_array_foreach (json_object_get(body, "interfaces"), i, other) {
		bool equal = true;

		for (size_t k = 0; k < sizeof(same) / sizeof(same[0]); k++)
			equal &= json_equal(json_object_get(interface, same[k]),
					    json_object_get(other, same[k])) == 1;
		if (equal)
			return other;
	}
	return NULL;
}

/* Addresses that interfaces of both have in the one body and not in the other, each with its dev.
 */
static json_t *address_difference(const json_t *body, const json_t *other)
{
	json_t *all = json_array(), *interface, *address;
	size_t i, k;

	json_array_foreach (json_object_get(body, "interfaces"), i, interface) {
		const json_t *its = find_interface(other, interface);
		json_t *left = its ? difference(json_object_get(interface, "addresses"),
						json_object_get(its, "addresses"))
				   : json_array();

		json_array_foreach (left, k, address) {
			json_t *copy = json_copy(address);

			json_object_set(copy, "dev", json_object_get(interface, "name"));
			json_array_append_new(all, copy);
		}
		json_decref(left);
	}
	return all;
}

static json_t *new_interfaces(const json_t *from, const json_t *to)
{
	json_t *list = json_array(), *interface;
	size_t i;

	json_array_foreach (json_object_get(to, "interfaces"), i, interface)
		if (!find_interface(from, interface))
			json_array_append(list, interface);
	return list;
}

static size_t put_list(json_t *object, const char *key, json_t *list)
{
	size_t size = json_array_size(list);

	json_object_set_new(object, key, list);
	return size;
}

json_t *network_change(const json_t *from, const json_t *to)
{
	static const char *const lists[] = {"routes", "neighbours", "rules"};
	json_t *gone = json_object(), *body = json_pack("{s:b, s:o}", "change", 1, "gone", gone);
	bool resolver = json_is_true(json_object_get(to, "resolver")) &&
			!json_is_true(json_object_get(from, "resolver"));
	size_t changes = resolver;

	if (!body)
		return NULL;
	json_object_set_new(body, "resolver", json_boolean(resolver));
	changes += put_list(body, "interfaces", new_interfaces(from, to));
	changes += put_list(body, "addresses", address_difference(to, from));
	changes += put_list(gone, "addresses", address_difference(from, to));
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		const json_t *before = json_object_get(from, lists[i]);
		const json_t *now = json_object_get(to, lists[i]);

		changes += put_list(body, lists[i], difference(now, before));
		changes += put_list(gone, lists[i], difference(before, now));
	}
	if (changes)
		return body;
	json_decref(body);
	return NULL;
}
