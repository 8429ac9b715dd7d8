#include "guest-agent/network.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "guest-agent/network_internal.h"
#include "guest-agent/plug.h"
#include "guest-agent/spec.h"

void network_begin(const struct network *network, struct netlink_message *message, uint16_t add,
		   uint16_t remove, uint16_t flags, const void *body, size_t len)
{
	netlink_begin(message, network->removing ? remove : add, network->removing ? 0 : flags,
		      body, len);
}

static int each(const struct network *network, const json_t *body, const char *key,
		int (*fn)(const struct network *, const json_t *, struct error *),
		struct error *err)
{
	const json_t *list = NULL, *item;
	int ret = spec_array(body, "body", key, &list, err);

	for (size_t i = 0; ret >= 0 && i < json_array_size(list); i++) {
		ret = spec_element(list, key, i, &item, err);
		if (ret >= 0)
			ret = fn(network, item, err);
		if (ret < 0)
			error_prefix(err, ret, "%s[%zu]", key, i);
	}
	return ret < 0 ? ret : 0;
}

/* An address of an interface that was there before. */
static int change_address(const struct network *network, const json_t *item, struct error *err)
{
	static const char where[] = "addresses";
	int index, ret = network_get_device(item, where, &index, err);

	return ret < 0 ? ret : network_add_address(network, index, item, where, err);
}

/* What the container has taken away itself by now is as gone as it should be. */
static void remove_each(struct network *network, const json_t *gone, const char *key,
			int (*fn)(const struct network *, const json_t *, struct error *))
{
	const json_t *list = NULL, *item;
	struct error ignored = {0};

	network->removing = true;
	if (spec_array(gone, "gone", key, &list, &ignored) < 0)
		list = NULL;
	for (size_t i = 0; i < json_array_size(list); i++) {
		error_clear(&ignored);
		if (spec_element(list, key, i, &item, &ignored) >= 0)
			fn(network, item, &ignored);
	}
	network->removing = false;
}

static int remove_nics(const struct network *network, const json_t *gone, struct error *err)
{
	const json_t *list = NULL;
	int ret = spec_array(gone, "gone", "nics", &list, err);

	for (size_t i = 0; ret >= 0 && i < json_array_size(list); i++) {
		json_int_t nic = json_integer_value(json_array_get(list, i));
		char name[IFNAMSIZ] = "";

		if (nic < 0 || nic >= NICS_MAX || !network->index_of_nic[nic] ||
		    !if_indextoname((unsigned int)network->index_of_nic[nic], name))
			continue;
		ret = unplug_interface(name, err);
	}
	return ret < 0 ? ret : 0;
}

static int remove_gone(struct network *network, const json_t *body, struct error *err)
{
	const json_t *gone = NULL;
	int ret = spec_object(body, "body", "gone", &gone, err);

	if (ret <= 0)
		return ret;
	if ((ret = network_find_nics(network, err)) < 0 ||
	    (ret = remove_nics(network, gone, err)) < 0)
		return ret;
	remove_each(network, gone, "rules", network_add_rule);
	remove_each(network, gone, "neighbours", network_add_neighbour);
	remove_each(network, gone, "routes", network_add_far_route);
	remove_each(network, gone, "routes", network_add_near_route);
	remove_each(network, gone, "addresses", change_address);
	memset(network->index_of_nic, 0, sizeof(network->index_of_nic));
	return 0;
}

/* Those that have no driver yet get it. */
static int add_nics(struct network *network, const json_t *body, struct error *err)
{
	int ret;

	if (network->change && !json_array_size(json_object_get(body, "interfaces")))
		return 0;
	ret = plug_devices(err);
	return ret < 0 ? ret : network_find_nics(network, err);
}

static int set_interfaces(struct network *network, const json_t *body, struct error *err)
{
	const json_t *list = NULL, *item;
	char where[40];
	int ret = spec_array(body, "body", "interfaces", &list, err);

	if (ret >= 0)
		ret = network_free_names(network, list, err);
	for (size_t i = 0; ret >= 0 && i < json_array_size(list); i++) {
		snprintf(where, sizeof(where), "interfaces[%zu]", i);
		ret = spec_element(list, "interfaces", i, &item, err);
		if (ret >= 0)
			ret = network_set_interface(network, item, where, err);
	}
	for (unsigned int i = 0; ret >= 0 && !network->change && i < NICS_MAX; i++)
		if (network->index_of_nic[i] && !network->described[i])
			ret = network_change_link(network, network->index_of_nic[i], 0, NULL, NULL,
						  0);
	return ret < 0 ? ret : 0;
}

int network_apply(const json_t *body, struct error *err)
{
	cleanup_fd int fd = netlink_open();
	struct network network = {.fd = fd};
	int ret;

	if (fd < 0)
		return error_set(err, -fd, "rtnetlink");
	if ((ret = spec_bool(body, "body", "change", &network.change, err)) < 0 ||
	    (ret = remove_gone(&network, body, err)) < 0 ||
	    (ret = add_nics(&network, body, err)) < 0 ||
	    (ret = set_interfaces(&network, body, err)) < 0 ||
	    (ret = each(&network, body, "addresses", change_address, err)) < 0 ||
	    (ret = each(&network, body, "routes", network_add_near_route, err)) < 0 ||
	    (ret = each(&network, body, "routes", network_add_far_route, err)) < 0 ||
	    (ret = each(&network, body, "neighbours", network_add_neighbour, err)) < 0)
		return ret;
	return each(&network, body, "rules", network_add_rule, err);
}
