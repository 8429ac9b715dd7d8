#include "guest-agent/network.h"

#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "guest-agent/netlink.h"
#include "guest-agent/path.h"
#include "guest-agent/plug.h"
#include "guest-agent/spec.h"

#define NICS_MAX 8

struct network {
	int fd;
	int index_of_nic[NICS_MAX]; /* 0: there is no such NIC */
	bool described[NICS_MAX];
	bool change;   /* what the body does not speak of stays as it is */
	bool removing; /* routes and the like: they are taken away */
};

/* Begins a message that adds something, or while removing takes it away. */
static void begin(const struct network *network, struct netlink_message *message, uint16_t add,
		  uint16_t remove, uint16_t flags, const void *body, size_t len)
{
	netlink_begin(message, network->removing ? remove : add, network->removing ? 0 : flags,
		      body, len);
}

struct address {
	uint8_t family;
	uint8_t len;	/* bytes */
	uint8_t prefix; /* bits */
	uint8_t bytes[16];
};

/* --- reading --- */

static int parse_address(const char *text, struct address *out)
{
	const char *slash = strchr(text, '/');
	char host[INET6_ADDRSTRLEN];
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	int prefix = -1;
	char rest;

	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	out->family = strchr(host, ':') ? AF_INET6 : AF_INET;
	out->len = out->family == AF_INET6 ? 16 : 4;
	if (inet_pton(out->family, host, out->bytes) != 1)
		return -EINVAL;
	if (slash && (sscanf(slash + 1, "%3d%c", &prefix, &rest) != 1 || prefix < 0 ||
		      prefix > out->len * 8))
		return -EINVAL;
	out->prefix = (uint8_t)(slash ? prefix : out->len * 8);
	return 0;
}

/* As the readers of spec.h. */
static int get_address(const json_t *object, const char *where, const char *key,
		       struct address *out, struct error *err)
{
	const char *text;
	int ret = spec_string(object, where, key, &text, err);

	if (ret > 0 && parse_address(text, out) < 0)
		return error_say(err, EINVAL, "%s.%s: \"%.64s\" is not an address", where, key,
				 text);
	return ret;
}

static int get_mac(const json_t *object, const char *where, uint8_t mac[6], struct error *err)
{
	const char *text;
	char rest;
	int ret = spec_string(object, where, "mac", &text, err);

	if (ret <= 0)
		return ret;
	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2],
		   &mac[3], &mac[4], &mac[5], &rest) != 6)
		return error_say(err, EINVAL, "%s.mac: \"%.64s\" is not an address", where, text);
	return 1;
}

/* An absent number is what it was. */
static int get_number(const json_t *object, const char *where, const char *key, uint32_t *out,
		      struct error *err)
{
	long long value = *out;
	int ret = spec_int(object, where, key, 0, UINT32_MAX, &value, err);

	*out = (uint32_t)value;
	return ret;
}

static int get_device(const json_t *object, const char *where, int *index, struct error *err)
{
	const char *name = NULL;
	int ret = spec_string(object, where, "dev", &name, err);

	if (ret < 0)
		return ret;
	*index = name ? (int)if_nametoindex(name) : 0;
	return *index ? 0
		      : error_say(err, ENODEV, "%s.dev: there is no interface \"%.16s\"", where,
				  name ? name : "");
}

/* --- interfaces --- */

/*
 * NICs are told apart by the address that each had when it was made (devices/net.h, net_mac),
 * whatever it was given since.
 */
static void note_nic(const struct nlmsghdr *answer, void *ctx)
{
	static const uint8_t made[5] = {0x02, 'b', 'k', 0, 0};
	struct network *network = ctx;
	const struct ifinfomsg *link = NLMSG_DATA(answer);
	const struct rtattr *mac;
	const uint8_t *bytes;

	if (answer->nlmsg_type != RTM_NEWLINK || answer->nlmsg_len < NLMSG_SPACE(sizeof(*link)))
		return;
	mac = netlink_find(answer, sizeof(*link), IFLA_PERM_ADDRESS);
	if (!mac || RTA_PAYLOAD(mac) != 6)
		return;
	bytes = RTA_DATA(mac);
	if (memcmp(bytes, made, sizeof(made)) == 0 && bytes[5] < NICS_MAX)
		network->index_of_nic[bytes[5]] = link->ifi_index;
}

static int find_nics(struct network *network, struct error *err)
{
	struct ifinfomsg any = {.ifi_family = AF_UNSPEC};
	struct netlink_message message;
	int ret;

	netlink_begin(&message, RTM_GETLINK, 0, &any, sizeof(any));
	ret = netlink_dump(network->fd, &message, note_nic, network);
	return ret < 0 ? error_set(err, -ret, "list the NICs") : 0;
}

static int change_link(const struct network *network, int index, uint32_t flags, const char *name,
		       const uint8_t *mac, uint32_t mtu)
{
	struct ifinfomsg link = {
		.ifi_family = AF_UNSPEC,
		.ifi_index = index,
		.ifi_flags = flags,
		.ifi_change = IFF_UP,
	};
	struct netlink_message message;

	netlink_begin(&message, RTM_NEWLINK, 0, &link, sizeof(link));
	if (name)
		netlink_put(&message, IFLA_IFNAME, name, strlen(name) + 1);
	if (mac)
		netlink_put(&message, IFLA_ADDRESS, mac, 6);
	if (mtu)
		netlink_put_u32(&message, IFLA_MTU, mtu);
	return netlink_request(network->fd, &message);
}

/* Another NIC may have the name that this one is to have: all get out of the way first. */
static int free_name(const struct network *network, int index, const char *name)
{
	char now[IFNAMSIZ] = "", aside[IFNAMSIZ];

	if (if_indextoname((unsigned int)index, now) && strcmp(now, name) == 0)
		return 0;
	snprintf(aside, sizeof(aside), "nic%d", index);
	return change_link(network, index, 0, aside, NULL, 0);
}

static int set_ipv6(const char *name, bool on)
{
	char path[80];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	return path_write(path, on ? "0" : "1");
}

static int interface_nic(const struct network *network, const json_t *item, const char *where,
			 uint32_t *nic, struct error *err)
{
	*nic = NICS_MAX;
	if (get_number(item, where, "nic", nic, err) < 0)
		return -EINVAL;
	if (*nic >= NICS_MAX || !network->index_of_nic[*nic])
		return error_say(err, ENODEV, "%s.nic: the VM has no such NIC", where);
	return 0;
}

static int interface_name(const json_t *item, const char *where, const char **name,
			  struct error *err)
{
	int ret;

	*name = NULL;
	ret = spec_string(item, where, "name", name, err);
	if (ret < 0)
		return ret;
	if (!*name || !**name || strlen(*name) >= IFNAMSIZ || strpbrk(*name, "/ \t\n") ||
	    **name == '.')
		return error_say(err, EINVAL, "%s.name: not a name of an interface", where);
	return 0;
}

static int free_names(struct network *network, const json_t *list, struct error *err)
{
	const json_t *item;
	const char *name;
	uint32_t nic;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < json_array_size(list); i++)
		if ((ret = spec_element(list, "interfaces", i, &item, err)) >= 0 &&
		    (ret = interface_nic(network, item, "interfaces", &nic, err)) == 0 &&
		    (ret = interface_name(item, "interfaces", &name, err)) == 0)
			ret = free_name(network, network->index_of_nic[nic], name);
	return ret;
}

static int add_address(const struct network *network, int index, const json_t *item,
		       const char *where, struct error *err)
{
	struct address local = {0}, peer, broadcast;
	struct netlink_message message;
	struct ifaddrmsg head = {.ifa_index = (uint32_t)index};
	uint32_t prefix, scope = RT_SCOPE_UNIVERSE;
	int has_peer, has_broadcast, ret;

	if ((ret = get_address(item, where, "address", &local, err)) <= 0)
		return ret < 0 ? ret : error_say(err, EINVAL, "%s.address: is missing", where);
	prefix = local.prefix;
	if ((has_peer = get_address(item, where, "peer", &peer, err)) < 0 ||
	    (has_broadcast = get_address(item, where, "broadcast", &broadcast, err)) < 0 ||
	    (ret = get_number(item, where, "prefix", &prefix, err)) < 0 ||
	    (ret = get_number(item, where, "scope", &scope, err)) < 0)
		return -EINVAL;
	if (prefix > local.len * 8u || scope > 255)
		return error_say(err, EINVAL, "%s: prefix or scope out of range", where);
	head.ifa_family = local.family;
	head.ifa_prefixlen = (uint8_t)prefix;
	head.ifa_scope = (uint8_t)scope;
	/* Nobody else on this network has it: the engine has seen to that, and a wait costs time.
	 */
	head.ifa_flags = IFA_F_NODAD | IFA_F_PERMANENT;
	begin(network, &message, RTM_NEWADDR, RTM_DELADDR, NLM_F_CREATE | NLM_F_REPLACE, &head,
	      sizeof(head));
	netlink_put(&message, IFA_LOCAL, local.bytes, local.len);
	netlink_put(&message, IFA_ADDRESS, has_peer ? peer.bytes : local.bytes, local.len);
	if (has_broadcast)
		netlink_put(&message, IFA_BROADCAST, broadcast.bytes, broadcast.len);
	ret = netlink_request(network->fd, &message);
	return ret < 0 && ret != -EEXIST
		       ? error_set(err, -ret, "%s: set the address (%s)", where, netlink_reason())
		       : 0;
}

static int set_interface(struct network *network, const json_t *item, const char *where,
			 struct error *err)
{
	const json_t *addresses = NULL, *address;
	const char *name;
	bool up = false, ipv6 = true;
	uint32_t nic, mtu = 0;
	uint8_t mac[6];
	int has_mac, index, ret;

	if ((ret = interface_nic(network, item, where, &nic, err)) < 0 ||
	    (ret = interface_name(item, where, &name, err)) < 0 ||
	    (ret = has_mac = get_mac(item, where, mac, err)) < 0 ||
	    (ret = get_number(item, where, "mtu", &mtu, err)) < 0 ||
	    (ret = spec_bool(item, where, "up", &up, err)) < 0 ||
	    (ret = spec_bool(item, where, "ipv6", &ipv6, err)) < 0 ||
	    (ret = spec_array(item, where, "addresses", &addresses, err)) < 0)
		return ret;
	network->described[nic] = true;
	index = network->index_of_nic[nic];
	ret = change_link(network, index, 0, name, has_mac ? mac : NULL, mtu);
	if (ret < 0)
		return error_set(err, -ret, "%s: set up %s (%s)", where, name, netlink_reason());
	/* Before it is up, or IPv6 has given itself an address already. */
	set_ipv6(name, ipv6);
	if (up && (ret = change_link(network, index, IFF_UP, NULL, NULL, 0)) < 0)
		return error_set(err, -ret, "%s: bring %s up", where, name);
	for (size_t i = 0; ret >= 0 && i < json_array_size(addresses); i++) {
		ret = spec_element(addresses, where, i, &address, err);
		if (ret >= 0)
			ret = add_address(network, index, address, where, err);
	}
	return ret < 0 ? ret : 0;
}

/* --- routes, neighbours, rules --- */

static int put_via(struct netlink_message *message, uint8_t family, const json_t *hop,
		   const char *where, bool *has_via, struct error *err)
{
	struct {
		uint16_t family;
		uint8_t bytes[16];
	} __attribute__((packed)) other;
	struct address via = {0};
	int ret = get_address(hop, where, "via", &via, err);

	if (ret <= 0)
		return ret;
	*has_via = true;
	if (via.family == family) {
		netlink_put(message, RTA_GATEWAY, via.bytes, via.len);
		return 0;
	}
	/* IPv4 by way of an IPv6 router. */
	other.family = via.family;
	memcpy(other.bytes, via.bytes, via.len);
	netlink_put(message, RTA_VIA, &other, sizeof(other.family) + via.len);
	return 0;
}

static int put_hop(struct netlink_message *message, uint8_t family, const json_t *hop,
		   struct rtmsg *route, bool *has_via, struct error *err)
{
	static const char where[] = "routes.hops";
	bool onlink = false;
	int index, ret;

	if ((ret = get_device(hop, where, &index, err)) < 0 ||
	    (ret = spec_bool(hop, where, "onlink", &onlink, err)) < 0)
		return ret;
	netlink_put_u32(message, RTA_OIF, (uint32_t)index);
	if (onlink)
		route->rtm_flags |= RTNH_F_ONLINK;
	return put_via(message, family, hop, where, has_via, err);
}

static int put_route(struct netlink_message *message, const json_t *item, struct rtmsg *head,
		     bool *has_via, struct error *err)
{
	static const char where[] = "routes";
	struct address to, source;
	const json_t *hops = NULL, *hop;
	uint32_t metric = 0, table = RT_TABLE_MAIN, mtu = 0;
	size_t nest;
	int ret;

	if ((ret = get_address(item, where, "to", &to, err)) < 0)
		return ret;
	if (ret > 0) {
		head->rtm_dst_len = to.prefix;
		netlink_put(message, RTA_DST, to.bytes, to.len);
	}
	if ((ret = get_address(item, where, "source", &source, err)) < 0)
		return ret;
	if (ret > 0)
		netlink_put(message, RTA_PREFSRC, source.bytes, source.len);
	if ((ret = get_number(item, where, "metric", &metric, err)) < 0 ||
	    (ret = get_number(item, where, "table", &table, err)) < 0 ||
	    (ret = get_number(item, where, "mtu", &mtu, err)) < 0 ||
	    (ret = spec_array(item, where, "hops", &hops, err)) < 0)
		return ret;
	if (metric)
		netlink_put_u32(message, RTA_PRIORITY, metric);
	netlink_put_u32(message, RTA_TABLE, table);
	if (mtu) {
		nest = netlink_nest(message, RTA_METRICS);
		netlink_put_u32(message, RTAX_MTU, mtu);
		netlink_nest_end(message, nest);
	}
	/* Of several hops the first: this kernel has no multipath routing. */
	ret = spec_element(hops, where, 0, &hop, err);
	return ret < 0 ? ret : put_hop(message, head->rtm_family, hop, head, has_via, err);
}

/* Routes by way of a router come second: the first ones say where the routers are. */
static int add_route(const struct network *network, const json_t *item, bool second,
		     struct error *err)
{
	static const char where[] = "routes";
	uint32_t family = 0, scope = RT_SCOPE_UNIVERSE, type = RTN_UNICAST, protocol = RTPROT_BOOT;
	struct rtmsg head = {.rtm_table = RT_TABLE_UNSPEC};
	struct netlink_message message;
	bool has_via = false;
	int ret;

	if ((ret = get_number(item, where, "family", &family, err)) < 0 ||
	    (ret = get_number(item, where, "scope", &scope, err)) < 0 ||
	    (ret = get_number(item, where, "type", &type, err)) < 0 ||
	    (ret = get_number(item, where, "protocol", &protocol, err)) < 0)
		return ret;
	if ((family != 4 && family != 6) || scope > 255 || type > 255 || protocol > 255)
		return error_say(err, EINVAL, "routes: family, scope, type or protocol");
	head.rtm_family = family == 4 ? AF_INET : AF_INET6;
	head.rtm_scope = (uint8_t)scope;
	head.rtm_type = (uint8_t)type;
	head.rtm_protocol = (uint8_t)protocol;
	begin(network, &message, RTM_NEWROUTE, RTM_DELROUTE, NLM_F_CREATE | NLM_F_REPLACE, &head,
	      sizeof(head));
	ret = put_route(&message, item, &head, &has_via, err);
	if (ret < 0 || has_via != second)
		return ret < 0 ? ret : 0;
	memcpy(NLMSG_DATA(&message.header), &head, sizeof(head));
	ret = netlink_request(network->fd, &message);
	return ret < 0 ? error_set(err, -ret, "add a route (%s)", netlink_reason()) : 0;
}

static int add_near_route(const struct network *network, const json_t *item, struct error *err)
{
	return add_route(network, item, false, err);
}

static int add_far_route(const struct network *network, const json_t *item, struct error *err)
{
	return add_route(network, item, true, err);
}

static int add_neighbour(const struct network *network, const json_t *item, struct error *err)
{
	static const char where[] = "neighbours";
	struct ndmsg head = {.ndm_state = NUD_PERMANENT};
	struct netlink_message message;
	struct address address = {0};
	uint8_t mac[6] = {0};
	int index, ret;

	if ((ret = get_device(item, where, &index, err)) < 0)
		return ret;
	if ((ret = get_address(item, where, "address", &address, err)) <= 0 ||
	    (ret = get_mac(item, where, mac, err)) <= 0)
		return ret < 0 ? ret : error_say(err, EINVAL, "neighbours: address or mac");
	head.ndm_family = address.family;
	head.ndm_ifindex = index;
	begin(network, &message, RTM_NEWNEIGH, RTM_DELNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &head,
	      sizeof(head));
	netlink_put(&message, NDA_DST, address.bytes, address.len);
	netlink_put(&message, NDA_LLADDR, mac, sizeof(mac));
	ret = netlink_request(network->fd, &message);
	return ret < 0 ? error_set(err, -ret, "add a neighbour") : 0;
}

static int put_selectors(struct netlink_message *message, const json_t *item,
			 struct fib_rule_hdr *head, struct error *err)
{
	static const char where[] = "rules";
	const char *iif = NULL, *oif = NULL;
	uint32_t mark = 0, mask = 0;
	struct address address;
	int ret;

	if ((ret = get_address(item, where, "from", &address, err)) < 0)
		return ret;
	if (ret > 0) {
		head->src_len = address.prefix;
		netlink_put(message, FRA_SRC, address.bytes, address.len);
	}
	if ((ret = get_address(item, where, "to", &address, err)) < 0)
		return ret;
	if (ret > 0) {
		head->dst_len = address.prefix;
		netlink_put(message, FRA_DST, address.bytes, address.len);
	}
	if ((ret = spec_string(item, where, "iif", &iif, err)) < 0 ||
	    (ret = spec_string(item, where, "oif", &oif, err)) < 0 ||
	    (ret = get_number(item, where, "mark", &mark, err)) < 0 ||
	    (ret = get_number(item, where, "mask", &mask, err)) < 0)
		return ret;
	if (iif)
		netlink_put(message, FRA_IIFNAME, iif, strlen(iif) + 1);
	if (oif)
		netlink_put(message, FRA_OIFNAME, oif, strlen(oif) + 1);
	if (mark)
		netlink_put_u32(message, FRA_FWMARK, mark);
	if (mask)
		netlink_put_u32(message, FRA_FWMASK, mask);
	return 0;
}

static int add_rule(const struct network *network, const json_t *item, struct error *err)
{
	static const char where[] = "rules";
	struct fib_rule_hdr head = {.action = FR_ACT_TO_TBL};
	uint32_t family = 0, priority = 0, table = RT_TABLE_MAIN;
	struct netlink_message message;
	int ret;

	if ((ret = get_number(item, where, "family", &family, err)) < 0 ||
	    (ret = get_number(item, where, "priority", &priority, err)) < 0 ||
	    (ret = get_number(item, where, "table", &table, err)) < 0)
		return ret;
	head.family = family == 4 ? AF_INET : AF_INET6;
	begin(network, &message, RTM_NEWRULE, RTM_DELRULE, NLM_F_CREATE | NLM_F_EXCL, &head,
	      sizeof(head));
	netlink_put_u32(&message, FRA_PRIORITY, priority);
	netlink_put_u32(&message, FRA_TABLE, table);
	ret = put_selectors(&message, item, &head, err);
	if (ret < 0)
		return ret;
	memcpy(NLMSG_DATA(&message.header), &head, sizeof(head));
	ret = netlink_request(network->fd, &message);
	return ret < 0 && ret != -EEXIST
		       ? error_set(err, -ret, "add a routing rule (%s)", netlink_reason())
		       : 0;
}

/* --- the whole --- */

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
	int index, ret = get_device(item, where, &index, err);

	return ret < 0 ? ret : add_address(network, index, item, where, err);
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
	if ((ret = find_nics(network, err)) < 0 || (ret = remove_nics(network, gone, err)) < 0)
		return ret;
	remove_each(network, gone, "rules", add_rule);
	remove_each(network, gone, "neighbours", add_neighbour);
	remove_each(network, gone, "routes", add_far_route);
	remove_each(network, gone, "routes", add_near_route);
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
	return ret < 0 ? ret : find_nics(network, err);
}

static int set_interfaces(struct network *network, const json_t *body, struct error *err)
{
	const json_t *list = NULL, *item;
	char where[40];
	int ret = spec_array(body, "body", "interfaces", &list, err);

	if (ret >= 0)
		ret = free_names(network, list, err);
	for (size_t i = 0; ret >= 0 && i < json_array_size(list); i++) {
		snprintf(where, sizeof(where), "interfaces[%zu]", i);
		ret = spec_element(list, "interfaces", i, &item, err);
		if (ret >= 0)
			ret = set_interface(network, item, where, err);
	}
	for (unsigned int i = 0; ret >= 0 && !network->change && i < NICS_MAX; i++)
		if (network->index_of_nic[i] && !network->described[i])
			ret = change_link(network, network->index_of_nic[i], 0, NULL, NULL, 0);
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
	    (ret = each(&network, body, "routes", add_near_route, err)) < 0 ||
	    (ret = each(&network, body, "routes", add_far_route, err)) < 0 ||
	    (ret = each(&network, body, "neighbours", add_neighbour, err)) < 0)
		return ret;
	return each(&network, body, "rules", add_rule, err);
}
