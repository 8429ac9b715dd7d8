#include <linux/if_addr.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "guest-agent/network_internal.h"
#include "guest-agent/path.h"
#include "guest-agent/spec.h"

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

int network_find_nics(struct network *network, struct error *err)
{
	struct ifinfomsg any = {.ifi_family = AF_UNSPEC};
	struct netlink_message message;
	int ret;

	netlink_begin(&message, RTM_GETLINK, 0, &any, sizeof(any));
	ret = netlink_dump(network->fd, &message, note_nic, network);
	return ret < 0 ? error_set(err, -ret, "list the NICs") : 0;
}

int network_change_link(const struct network *network, int index, uint32_t flags, const char *name,
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
	return network_change_link(network, index, 0, aside, NULL, 0);
}

static int set_ipv6(const char *name, bool on)
{
	char path[80];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	return path_write(path, on ? "0" : "1");
}

/*
 * Its packets are received by a thread, which shares the CPU with the programs that read them. In
 * the kernel's interrupt context, ahead of all programs, a flood would leave these no time, and be
 * dropped for want of a reader.
 */
static int receive_by_thread(const char *name)
{
	char path[80];

	snprintf(path, sizeof(path), "/sys/class/net/%s/threaded", name);
	return path_write(path, "1");
}

static int interface_nic(const struct network *network, const json_t *item, const char *where,
			 uint32_t *nic, struct error *err)
{
	*nic = NICS_MAX;
	if (network_get_number(item, where, "nic", nic, err) < 0)
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

int network_free_names(struct network *network, const json_t *list, struct error *err)
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

int network_add_address(const struct network *network, int index, const json_t *item,
			const char *where, struct error *err)
{
	struct address local = {0}, peer, broadcast;
	struct netlink_message message;
	struct ifaddrmsg head = {.ifa_index = (uint32_t)index};
	uint32_t prefix, scope = RT_SCOPE_UNIVERSE;
	int has_peer, has_broadcast, ret;

	if ((ret = network_get_address(item, where, "address", &local, err)) <= 0)
		return ret < 0 ? ret : error_say(err, EINVAL, "%s.address: is missing", where);
	prefix = local.prefix;
	if ((has_peer = network_get_address(item, where, "peer", &peer, err)) < 0 ||
	    (has_broadcast = network_get_address(item, where, "broadcast", &broadcast, err)) < 0 ||
	    (ret = network_get_number(item, where, "prefix", &prefix, err)) < 0 ||
	    (ret = network_get_number(item, where, "scope", &scope, err)) < 0)
		return -EINVAL;
	if (prefix > local.len * 8u || scope > 255)
		return error_say(err, EINVAL, "%s: prefix or scope out of range", where);
	head.ifa_family = local.family;
	head.ifa_prefixlen = (uint8_t)prefix;
	head.ifa_scope = (uint8_t)scope;
	/* Nobody else on this network has it: the engine has seen to that, and a wait costs time.
	 */
	head.ifa_flags = IFA_F_NODAD | IFA_F_PERMANENT;
	network_begin(network, &message, RTM_NEWADDR, RTM_DELADDR, NLM_F_CREATE | NLM_F_REPLACE,
		      &head, sizeof(head));
	netlink_put(&message, IFA_LOCAL, local.bytes, local.len);
	netlink_put(&message, IFA_ADDRESS, has_peer ? peer.bytes : local.bytes, local.len);
	if (has_broadcast)
		netlink_put(&message, IFA_BROADCAST, broadcast.bytes, broadcast.len);
	ret = netlink_request(network->fd, &message);
	return ret < 0 && ret != -EEXIST
		       ? error_set(err, -ret, "%s: set the address (%s)", where, netlink_reason())
		       : 0;
}

int network_set_interface(struct network *network, const json_t *item, const char *where,
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
	    (ret = has_mac = network_get_mac(item, where, mac, err)) < 0 ||
	    (ret = network_get_number(item, where, "mtu", &mtu, err)) < 0 ||
	    (ret = spec_bool(item, where, "up", &up, err)) < 0 ||
	    (ret = spec_bool(item, where, "ipv6", &ipv6, err)) < 0 ||
	    (ret = spec_array(item, where, "addresses", &addresses, err)) < 0)
		return ret;
	network->described[nic] = true;
	index = network->index_of_nic[nic];
	ret = network_change_link(network, index, 0, name, has_mac ? mac : NULL, mtu);
	if (ret < 0)
		return error_set(err, -ret, "%s: set up %s (%s)", where, name, netlink_reason());
	/* Before it is up, or IPv6 has given itself an address already. */
	set_ipv6(name, ipv6);
	receive_by_thread(name);
	if (up && (ret = network_change_link(network, index, IFF_UP, NULL, NULL, 0)) < 0)
		return error_set(err, -ret, "%s: bring %s up", where, name);
	for (size_t i = 0; ret >= 0 && i < json_array_size(addresses); i++) {
		ret = spec_element(addresses, where, i, &address, err);
		if (ret >= 0)
			ret = network_add_address(network, index, address, where, err);
	}
	return ret < 0 ? ret : 0;
}
