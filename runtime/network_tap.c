/*
 * A tap beside an interface, and tc's redirect from each to the other: whatever arrives at one
 * leaves at the other before the namespace's own stack sees it.
 */
#include "runtime/network_internal.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <netlink/netlink.h>
#include <netlink/route/act/gact.h>
#include <netlink/route/act/mirred.h>
#include <netlink/route/cls/u32.h>
#include <netlink/route/classifier.h>
#include <netlink/route/link.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define INGRESS TC_HANDLE(0xffff, 0)

void network_tap_name(unsigned int nic, char name[IFNAMSIZ])
{
	snprintf(name, IFNAMSIZ, NETWORK_TAP "%u", nic);
}

/* Who asks for a name by ioctl has the kernel look for a module of that name first. */
int network_tap_index(struct nl_sock *sock, unsigned int nic)
{
	struct rtnl_link *link = NULL;
	char name[IFNAMSIZ];
	int index = 0;

	network_tap_name(nic, name);
	if (rtnl_link_get_kernel(sock, 0, name, &link) == 0)
		index = rtnl_link_get_ifindex(link);
	rtnl_link_put(link);
	return index;
}

static int tap_error(const char *name, int code, struct error *err)
{
	if (code == EBUSY)
		return error_say(err, EBUSY,
				 "it is joined to another VM (%s): a VM shares its network "
				 "namespace with no other",
				 name);
	return error_set(err, code, "make the tap %s", name);
}

static int open_tap(unsigned int nic, unsigned int queues, int *fds, struct error *err)
{
	struct ifreq request = {0};
	unsigned int opened = 0;
	int code = 0;

	network_tap_name(nic, request.ifr_name);
	while (opened < queues && !code) {
		int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

		request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
		if (queues > 1)
			request.ifr_flags |= IFF_MULTI_QUEUE;
		/* Made, and not another VM's, of which it would be one more queue. */
		if (!opened)
			request.ifr_flags |= (short)IFF_TUN_EXCL;
		if (fd < 0)
			code = error_set(err, errno, "open /dev/net/tun");
		else if (ioctl(fd, TUNSETIFF, &request) < 0 && close(fd) == 0)
			code = tap_error(request.ifr_name, errno, err);
		else
			fds[opened++] = fd;
	}
	while (code && opened)
		close(fds[--opened]);
	return code;
}

/* The namespace's stack is to say nothing of its own through the tap, so it has no IPv6 there. */
static void silence(const char *tap)
{
	char path[80];
	cleanup_fd int fd = -1;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", tap);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	/* Without IPv6 on the host there is no such file, and nothing to silence. */
	if (fd >= 0 && write(fd, "1", 1) < 0)
		return;
}

static int set_up(struct nl_sock *sock, int index, unsigned int mtu, struct error *err)
{
	struct rtnl_link *as_is = rtnl_link_alloc(), *wanted = rtnl_link_alloc();
	int ret = -NLE_NOMEM;

	if (as_is && wanted) {
		rtnl_link_set_ifindex(as_is, index);
		rtnl_link_set_mtu(wanted, mtu);
		rtnl_link_set_flags(wanted, IFF_UP);
		ret = rtnl_link_change(sock, as_is, wanted, 0);
	}
	rtnl_link_put(as_is);
	rtnl_link_put(wanted);
	return ret < 0 ? error_say(err, EIO, "bring the tap up: %s", nl_geterror(ret)) : 0;
}

static struct rtnl_qdisc *ingress_of(int index)
{
	struct rtnl_qdisc *qdisc = rtnl_qdisc_alloc();

	if (!qdisc)
		return NULL;
	rtnl_tc_set_ifindex(TC_CAST(qdisc), index);
	rtnl_tc_set_parent(TC_CAST(qdisc), TC_H_INGRESS);
	rtnl_tc_set_handle(TC_CAST(qdisc), INGRESS);
	rtnl_tc_set_kind(TC_CAST(qdisc), "ingress");
	return qdisc;
}

/* One that a VM before us has left behind leads nowhere: it makes room. */
static int add_ingress(struct nl_sock *sock, int index, struct error *err)
{
	struct rtnl_qdisc *qdisc = ingress_of(index);
	int ret = qdisc ? rtnl_qdisc_add(sock, qdisc, NLM_F_CREATE | NLM_F_EXCL) : -NLE_NOMEM;

	if (ret == -NLE_EXIST) {
		rtnl_qdisc_delete(sock, qdisc);
		ret = rtnl_qdisc_add(sock, qdisc, NLM_F_CREATE | NLM_F_EXCL);
	}
	rtnl_qdisc_put(qdisc);
	return ret < 0 ? error_say(err, EIO, "add tc's ingress (sch_ingress): %s", nl_geterror(ret))
		       : 0;
}

static struct rtnl_act *redirect_to(int index)
{
	struct rtnl_act *action = rtnl_act_alloc();

	if (!action)
		return NULL;
	rtnl_tc_set_kind(TC_CAST(action), "mirred");
	rtnl_mirred_set_action(action, TCA_EGRESS_REDIR);
	rtnl_mirred_set_policy(action, TC_ACT_STOLEN);
	rtnl_mirred_set_ifindex(action, (uint32_t)index);
	return action;
}

static struct rtnl_act *drop(void)
{
	struct rtnl_act *action = rtnl_act_alloc();

	if (!action)
		return NULL;
	rtnl_tc_set_kind(TC_CAST(action), "gact");
	rtnl_gact_set_action(action, TC_ACT_SHOT);
	return action;
}

/* u32 counts from the network header: the sender's address is the 6 bytes before the type. */
static int match_sender(struct rtnl_cls *filter, const uint8_t mac[6])
{
	uint32_t high = (uint32_t)mac[0] << 24 | (uint32_t)mac[1] << 16 | (uint32_t)mac[2] << 8 |
			mac[3];
	uint32_t low = (uint32_t)mac[4] << 24 | (uint32_t)mac[5] << 16;
	int ret = rtnl_u32_add_key(filter, htonl(high), htonl(0xffffffff), -8, 0);

	return ret < 0 ? ret : rtnl_u32_add_key(filter, htonl(low), htonl(0xffff0000), -4, 0);
}

/* Filter number prio of what comes in at index: from mac, or all when that is NULL. Takes action.
 */
static int add_filter(struct nl_sock *sock, int index, uint16_t prio, const uint8_t *mac,
		      struct rtnl_act *action, struct error *err)
{
	struct rtnl_cls *filter = rtnl_cls_alloc();
	int ret = -NLE_NOMEM;

	if (!filter || !action)
		goto out;
	rtnl_tc_set_ifindex(TC_CAST(filter), index);
	rtnl_tc_set_parent(TC_CAST(filter), INGRESS);
	rtnl_tc_set_kind(TC_CAST(filter), "u32");
	rtnl_cls_set_prio(filter, prio);
	rtnl_cls_set_protocol(filter, ETH_P_ALL);
	ret = mac ? match_sender(filter, mac) : rtnl_u32_add_key(filter, 0, 0, 0, 0);
	if (ret == 0)
		ret = rtnl_u32_set_cls_terminal(filter);
	if (ret == 0)
		ret = rtnl_u32_add_action(filter, action);
	if (ret == 0)
		ret = rtnl_cls_add(sock, filter, NLM_F_CREATE | NLM_F_EXCL);
out:
	rtnl_act_put(action);
	rtnl_cls_put(filter);
	return ret < 0 ? error_say(err, EIO, "add a tc filter (cls_u32, act_mirred, act_gact): %s",
				   nl_geterror(ret))
		       : 0;
}

/*
 * Of what the guest sends, that with another address than the interface's goes nowhere. Nothing
 * may fall through to the namespace's stack.
 */
static int join(struct nl_sock *sock, const struct network_interface *interface, int tap,
		struct error *err)
{
	int ret = add_ingress(sock, tap, err);

	if (ret == 0)
		ret = add_filter(sock, tap, 1, interface->mac, redirect_to(interface->index), err);
	if (ret == 0)
		ret = add_filter(sock, tap, 2, NULL, drop(), err);
	if (ret == 0)
		ret = add_ingress(sock, interface->index, err);
	if (ret == 0)
		ret = add_filter(sock, interface->index, 1, NULL, redirect_to(tap), err);
	return ret;
}

int network_tap(struct nl_sock *sock, const struct network_interface *interface, unsigned int nic,
		unsigned int queues, int *fds, struct error *err)
{
	char name[IFNAMSIZ];
	int index, ret;

	network_tap_name(nic, name);
	ret = open_tap(nic, queues, fds, err);
	if (ret < 0)
		return ret;
	index = network_tap_index(sock, nic);
	silence(name);
	ret = set_up(sock, index, interface->mtu, err);
	if (ret == 0)
		ret = join(sock, interface, index, err);
	for (unsigned int i = 0; ret < 0 && i < queues; i++)
		close(fds[i]);
	return ret;
}
