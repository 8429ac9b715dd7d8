/* What is in a network namespace, read by rtnetlink. */
#include "runtime/network_internal.h"

#include "common/cleanup.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/if_arp.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/route.h>
#include <netlink/route/rule.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Text of an address: "10.0.0.2/16", without the length where it is the whole address. */
#define ADDRESS_MAX 64

struct scan {
	const struct network_interface *found; /* [NIC], index 0: there is none */
	unsigned int count;
	json_t *addresses[NETWORK_NICS_MAX]; /* of each */
	json_t *interfaces, *routes, *neighbours, *rules;
};

static bool ipv6_is_on(const char *interface)
{
	char path[80], value = '1';
	cleanup_fd int fd = -1;

	/* Of the namespace that this thread is in. */
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", interface);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, &value, 1) == 1 && value == '0';
}

/*
 * Ethernet of its own: not lo, not a member of a bridge or bond, not one of our taps. Tunnels'
 * fallback devices, which every namespace has, are not Ethernet.
 */
static bool can_join(struct rtnl_link *link)
{
	const struct nl_addr *mac = rtnl_link_get_addr(link);

	return rtnl_link_get_arptype(link) == ARPHRD_ETHER && !rtnl_link_get_master(link) && mac &&
	       nl_addr_get_len(mac) == 6 &&
	       strncmp(rtnl_link_get_name(link), NETWORK_TAP, strlen(NETWORK_TAP)) != 0;
}

static void read_link(struct rtnl_link *link, struct network_interface *out)
{
	snprintf(out->name, sizeof(out->name), "%s", rtnl_link_get_name(link));
	out->index = rtnl_link_get_ifindex(link);
	out->mtu = rtnl_link_get_mtu(link);
	out->up = rtnl_link_get_flags(link) & IFF_UP;
	out->ipv6 = ipv6_is_on(out->name);
	memcpy(out->mac, nl_addr_get_binary_addr(rtnl_link_get_addr(link)), sizeof(out->mac));
}

static int by_index(const void *a, const void *b)
{
	return ((const struct network_interface *)a)->index -
	       ((const struct network_interface *)b)->index;
}

int network_find(struct nl_sock *sock, struct network_interface **out, struct error *err)
{
	cleanup_free struct network_interface *found = NULL;
	struct nl_cache *links;
	size_t count = 0;
	int ret = rtnl_link_alloc_cache(sock, AF_UNSPEC, &links);

	if (ret < 0)
		return error_say(err, EIO, "list the interfaces: %s", nl_geterror(ret));
	found = calloc((size_t)nl_cache_nitems(links) + 1, sizeof(*found));
	for (struct nl_object *at = nl_cache_get_first(links); at && found;
	     at = nl_cache_get_next(at))
		if (can_join((struct rtnl_link *)at))
			read_link((struct rtnl_link *)at, &found[count++]);
	nl_cache_free(links);
	if (!found)
		return error_set(err, ENOMEM, "list the interfaces");
	qsort(found, count, sizeof(*found), by_index);
	*out = found;
	found = NULL;
	return (int)count;
}

/* --- into JSON --- */

static const struct network_interface *interface_of(const struct scan *scan, int index)
{
	for (unsigned int i = 0; i < scan->count; i++)
		if (index && scan->found[i].index == index)
			return &scan->found[i];
	return NULL;
}

static void put_address(json_t *object, const char *key, struct nl_addr *address)
{
	char text[ADDRESS_MAX];

	if (address)
		json_object_set_new(object, key,
				    json_string(nl_addr2str(address, text, sizeof(text))));
}

static void put_number(json_t *object, const char *key, uint32_t value)
{
	if (value)
		json_object_set_new(object, key, json_integer(value));
}

static void add_address(struct nl_object *object, void *arg)
{
	struct scan *scan = arg;
	struct rtnl_addr *address = (struct rtnl_addr *)object;
	int family = rtnl_addr_get_family(address);
	json_t *item;

	/* A link-local address of IPv6 comes from the MAC, and the guest makes the same one. */
	if (family == AF_INET6 && rtnl_addr_get_scope(address) == RT_SCOPE_LINK)
		return;
	if (family != AF_INET && family != AF_INET6)
		return;
	for (unsigned int i = 0; i < scan->count; i++) {
		if (scan->found[i].index != rtnl_addr_get_ifindex(address))
			continue;
		item = json_object();
		put_address(item, "address", rtnl_addr_get_local(address));
		put_address(item, "peer", rtnl_addr_get_peer(address));
		put_address(item, "broadcast", rtnl_addr_get_broadcast(address));
		json_object_set_new(item, "prefix", json_integer(rtnl_addr_get_prefixlen(address)));
		json_object_set_new(item, "scope", json_integer(rtnl_addr_get_scope(address)));
		json_array_append_new(scan->addresses[i], item);
	}
}

static json_t *describe_hop(const struct scan *scan, struct rtnl_nexthop *hop)
{
	const struct network_interface *interface = interface_of(scan,
								 rtnl_route_nh_get_ifindex(hop));
	json_t *item;

	if (!interface)
		return NULL;
	item = json_pack("{s:s}", "dev", interface->name);
	put_address(item, "via", rtnl_route_nh_get_gateway(hop));
	if (!rtnl_route_nh_get_gateway(hop))
		put_address(item, "via", rtnl_route_nh_get_via(hop));
	put_number(item, "weight", rtnl_route_nh_get_weight(hop));
	if (rtnl_route_nh_get_flags(hop) & RTNH_F_ONLINK)
		json_object_set_new(item, "onlink", json_true());
	return item;
}

/* What the kernel makes by itself from an address, or from what a router says, it will again. */
static bool comes_by_itself(struct rtnl_route *route)
{
	return rtnl_route_get_protocol(route) == RTPROT_KERNEL ||
	       rtnl_route_get_protocol(route) == RTPROT_RA ||
	       rtnl_route_get_table(route) == RT_TABLE_LOCAL ||
	       rtnl_route_get_flags(route) & RTM_F_CLONED;
}

static void add_route(struct nl_object *object, void *arg)
{
	struct scan *scan = arg;
	struct rtnl_route *route = (struct rtnl_route *)object;
	uint8_t family = rtnl_route_get_family(route);
	struct nl_addr *to = rtnl_route_get_dst(route);
	json_t *item, *hops = json_array();
	uint32_t mtu = 0;

	if ((family == AF_INET || family == AF_INET6) && !comes_by_itself(route))
		for (int i = 0; i < rtnl_route_get_nnexthops(route); i++) {
			json_t *hop = describe_hop(scan, rtnl_route_nexthop_n(route, i));

			if (hop)
				json_array_append_new(hops, hop);
		}
	if (!json_array_size(hops)) {
		json_decref(hops);
		return;
	}
	item = json_pack("{s:i, s:o}", "family", family == AF_INET ? 4 : 6, "hops", hops);
	if (to && nl_addr_get_prefixlen(to))
		put_address(item, "to", to);
	put_address(item, "source", rtnl_route_get_pref_src(route));
	put_number(item, "metric", rtnl_route_get_priority(route));
	json_object_set_new(item, "table", json_integer(rtnl_route_get_table(route)));
	json_object_set_new(item, "scope", json_integer(rtnl_route_get_scope(route)));
	json_object_set_new(item, "type", json_integer(rtnl_route_get_type(route)));
	json_object_set_new(item, "protocol", json_integer(rtnl_route_get_protocol(route)));
	if (rtnl_route_get_metric(route, RTAX_MTU, &mtu) == 0)
		put_number(item, "mtu", mtu);
	json_array_append_new(scan->routes, item);
}

static void add_neighbour(struct nl_object *object, void *arg)
{
	struct scan *scan = arg;
	struct rtnl_neigh *neighbour = (struct rtnl_neigh *)object;
	const struct network_interface *interface = interface_of(scan,
								 rtnl_neigh_get_ifindex(neighbour));
	json_t *item;

	/* Others the guest finds by itself. Families: bridges have neighbours of another kind. */
	if (!interface || rtnl_neigh_get_state(neighbour) != NUD_PERMANENT ||
	    !rtnl_neigh_get_dst(neighbour) || !rtnl_neigh_get_lladdr(neighbour) ||
	    (rtnl_neigh_get_family(neighbour) != AF_INET &&
	     rtnl_neigh_get_family(neighbour) != AF_INET6))
		return;
	item = json_pack("{s:s}", "dev", interface->name);
	put_address(item, "address", rtnl_neigh_get_dst(neighbour));
	put_address(item, "mac", rtnl_neigh_get_lladdr(neighbour));
	json_array_append_new(scan->neighbours, item);
}

static void put_text(json_t *object, const char *key, const char *text)
{
	if (text && *text)
		json_object_set_new(object, key, json_string(text));
}

static void add_rule(struct nl_object *object, void *arg)
{
	struct scan *scan = arg;
	struct rtnl_rule *rule = (struct rtnl_rule *)object;
	uint32_t priority = rtnl_rule_get_prio(rule);
	int family = rtnl_rule_get_family(rule);
	json_t *item;

	/* These three there are everywhere. */
	if (priority == 0 || priority == 32766 || priority == 32767)
		return;
	if ((family != AF_INET && family != AF_INET6) ||
	    rtnl_rule_get_action(rule) != FR_ACT_TO_TBL)
		return;
	item = json_pack("{s:i, s:I, s:I}", "family", family == AF_INET ? 4 : 6, "priority",
			 (json_int_t)priority, "table", (json_int_t)rtnl_rule_get_table(rule));
	put_address(item, "from", rtnl_rule_get_src(rule));
	put_address(item, "to", rtnl_rule_get_dst(rule));
	put_text(item, "iif", rtnl_rule_get_iif(rule));
	put_text(item, "oif", rtnl_rule_get_oif(rule));
	put_number(item, "mark", rtnl_rule_get_mark(rule));
	put_number(item, "mask", rtnl_rule_get_mask(rule));
	json_array_append_new(scan->rules, item);
}

static json_t *describe_interface(const struct network_interface *interface, unsigned int nic)
{
	const uint8_t *m = interface->mac;
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	return json_pack("{s:I, s:s, s:s, s:I, s:b, s:b, s:[]}", "nic", (json_int_t)nic, "name",
			 interface->name, "mac", mac, "mtu", (json_int_t)interface->mtu, "up",
			 interface->up, "ipv6", interface->ipv6, "addresses");
}

static int allocate_routes(struct nl_sock *sock, struct nl_cache **out)
{
	return rtnl_route_alloc_cache(sock, AF_UNSPEC, 0, out);
}

static int allocate_rules(struct nl_sock *sock, struct nl_cache **out)
{
	return rtnl_rule_alloc_cache(sock, AF_UNSPEC, out);
}

static int walk(struct nl_sock *sock, struct scan *scan, struct error *err)
{
	static const struct {
		const char *what;
		int (*allocate)(struct nl_sock *, struct nl_cache **);
		void (*add)(struct nl_object *, void *);
	} rows[] = {
		{"addresses", rtnl_addr_alloc_cache, add_address},
		{"routes", allocate_routes, add_route},
		{"neighbours", rtnl_neigh_alloc_cache, add_neighbour},
		{"rules", allocate_rules, add_rule},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct nl_cache *cache;
		int ret = rows[i].allocate(sock, &cache);

		if (ret < 0)
			return error_say(err, EIO, "list the %s: %s", rows[i].what,
					 nl_geterror(ret));
		nl_cache_foreach(cache, rows[i].add, scan);
		nl_cache_free(cache);
	}
	return 0;
}

/* Whether something serves DNS in this namespace where docker's resolver does:
 * guest-agent/resolver.h. */
static bool has_resolver(void)
{
	cleanup_file FILE *sockets = fopen("/proc/thread-self/net/udp", "re");
	unsigned int address;
	char line[256];

	while (sockets && fgets(line, sizeof(line), sockets))
		if (sscanf(line, " %*u: %x:", &address) == 1 &&
		    address == htonl(PROTO_RESOLVER_ADDRESS))
			return true;
	return false;
}

json_t *network_describe(struct nl_sock *sock, const struct network_interface *found,
			 unsigned int count, struct error *err)
{
	struct scan scan = {
		.found = found,
		.count = count,
		.interfaces = json_array(),
		.routes = json_array(),
		.neighbours = json_array(),
		.rules = json_array(),
	};
	json_t *body = json_pack("{s:o, s:o, s:o, s:o}", "interfaces", scan.interfaces, "routes",
				 scan.routes, "neighbours", scan.neighbours, "rules", scan.rules);

	if (!body) {
		error_set(err, ENOMEM, "describe the network");
		return NULL;
	}
	json_object_set_new(body, "resolver", json_boolean(has_resolver()));
	for (unsigned int i = 0; i < count; i++) {
		json_t *interface = found[i].index ? describe_interface(&found[i], i) : NULL;

		if (!interface)
			continue;
		scan.addresses[i] = json_object_get(interface, "addresses");
		json_array_append_new(scan.interfaces, interface);
	}
	if (walk(sock, &scan, err) < 0) {
		json_decref(body);
		return NULL;
	}
	return body;
}
