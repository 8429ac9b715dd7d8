#include <linux/fib_rules.h>
#include <linux/neighbour.h>
#include <string.h>
#include <sys/socket.h>

#include "guest-agent/network_internal.h"
#include "guest-agent/spec.h"

static int put_via(struct netlink_message *message, uint8_t family, const json_t *hop,
		   const char *where, bool *has_via, struct error *err)
{
	struct {
		uint16_t family;
		uint8_t bytes[16];
	} __attribute__((packed)) other;
	struct address via = {0};
	int ret = network_get_address(hop, where, "via", &via, err);

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

	if ((ret = network_get_device(hop, where, &index, err)) < 0 ||
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

	if ((ret = network_get_address(item, where, "to", &to, err)) < 0)
		return ret;
	if (ret > 0) {
		head->rtm_dst_len = to.prefix;
		netlink_put(message, RTA_DST, to.bytes, to.len);
	}
	if ((ret = network_get_address(item, where, "source", &source, err)) < 0)
		return ret;
	if (ret > 0)
		netlink_put(message, RTA_PREFSRC, source.bytes, source.len);
	if ((ret = network_get_number(item, where, "metric", &metric, err)) < 0 ||
	    (ret = network_get_number(item, where, "table", &table, err)) < 0 ||
	    (ret = network_get_number(item, where, "mtu", &mtu, err)) < 0 ||
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

	if ((ret = network_get_number(item, where, "family", &family, err)) < 0 ||
	    (ret = network_get_number(item, where, "scope", &scope, err)) < 0 ||
	    (ret = network_get_number(item, where, "type", &type, err)) < 0 ||
	    (ret = network_get_number(item, where, "protocol", &protocol, err)) < 0)
		return ret;
	if ((family != 4 && family != 6) || scope > 255 || type > 255 || protocol > 255)
		return error_say(err, EINVAL, "routes: family, scope, type or protocol");
	head.rtm_family = family == 4 ? AF_INET : AF_INET6;
	head.rtm_scope = (uint8_t)scope;
	head.rtm_type = (uint8_t)type;
	head.rtm_protocol = (uint8_t)protocol;
	network_begin(network, &message, RTM_NEWROUTE, RTM_DELROUTE, NLM_F_CREATE | NLM_F_REPLACE,
		      &head, sizeof(head));
	ret = put_route(&message, item, &head, &has_via, err);
	if (ret < 0 || has_via != second)
		return ret < 0 ? ret : 0;
	memcpy(NLMSG_DATA(&message.header), &head, sizeof(head));
	ret = netlink_request(network->fd, &message);
	return ret < 0 ? error_set(err, -ret, "add a route (%s)", netlink_reason()) : 0;
}

int network_add_near_route(const struct network *network, const json_t *item, struct error *err)
{
	return add_route(network, item, false, err);
}

int network_add_far_route(const struct network *network, const json_t *item, struct error *err)
{
	return add_route(network, item, true, err);
}

int network_add_neighbour(const struct network *network, const json_t *item, struct error *err)
{
	static const char where[] = "neighbours";
	struct ndmsg head = {.ndm_state = NUD_PERMANENT};
	struct netlink_message message;
	struct address address = {0};
	uint8_t mac[6] = {0};
	int index, ret;

	if ((ret = network_get_device(item, where, &index, err)) < 0)
		return ret;
	if ((ret = network_get_address(item, where, "address", &address, err)) <= 0 ||
	    (ret = network_get_mac(item, where, mac, err)) <= 0)
		return ret < 0 ? ret : error_say(err, EINVAL, "neighbours: address or mac");
	head.ndm_family = address.family;
	head.ndm_ifindex = index;
	network_begin(network, &message, RTM_NEWNEIGH, RTM_DELNEIGH, NLM_F_CREATE | NLM_F_REPLACE,
		      &head, sizeof(head));
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

	if ((ret = network_get_address(item, where, "from", &address, err)) < 0)
		return ret;
	if (ret > 0) {
		head->src_len = address.prefix;
		netlink_put(message, FRA_SRC, address.bytes, address.len);
	}
	if ((ret = network_get_address(item, where, "to", &address, err)) < 0)
		return ret;
	if (ret > 0) {
		head->dst_len = address.prefix;
		netlink_put(message, FRA_DST, address.bytes, address.len);
	}
	if ((ret = spec_string(item, where, "iif", &iif, err)) < 0 ||
	    (ret = spec_string(item, where, "oif", &oif, err)) < 0 ||
	    (ret = network_get_number(item, where, "mark", &mark, err)) < 0 ||
	    (ret = network_get_number(item, where, "mask", &mask, err)) < 0)
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

int network_add_rule(const struct network *network, const json_t *item, struct error *err)
{
	static const char where[] = "rules";
	struct fib_rule_hdr head = {.action = FR_ACT_TO_TBL};
	uint32_t family = 0, priority = 0, table = RT_TABLE_MAIN;
	struct netlink_message message;
	int ret;

	if ((ret = network_get_number(item, where, "family", &family, err)) < 0 ||
	    (ret = network_get_number(item, where, "priority", &priority, err)) < 0 ||
	    (ret = network_get_number(item, where, "table", &table, err)) < 0)
		return ret;
	head.family = family == 4 ? AF_INET : AF_INET6;
	network_begin(network, &message, RTM_NEWRULE, RTM_DELRULE, NLM_F_CREATE | NLM_F_EXCL, &head,
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
