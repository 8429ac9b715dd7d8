/*
 * A process in the container's network namespace, from start until the VMM ends, that has the guest
 * follow what changes there: interfaces, addresses and routes (docs/network.md). While nothing
 * happens it sleeps.
 */
#include "runtime/cgroup.h"
#include "runtime/network_internal.h"
#include "runtime/orphan.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LONGEST	  1000 /* ms of events without a pause: then we look all the same */
#define QUIET	  50   /* ms without an event: whoever is at it has done a step */
#define TAP_LIMIT 2000 /* ms for a tap to be gone */

enum { DIR_FD = 3, EVENTS_FD, VMM_FD, LOG_FD };

/* --- what happened --- */

int network_watch_open(void)
{
	const struct sockaddr_nl address = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE |
			     RTMGRP_IPV4_RULE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE |
			     1u << (RTNLGRP_IPV6_RULE - 1),
	};
	cleanup_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
				   NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return take_fd(&fd);
}

/* What we do ourselves: our taps come and go. */
static bool is_ours(const struct nlmsghdr *message)
{
	const struct rtattr *at;
	size_t len;

	if ((message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK) ||
	    message->nlmsg_len < NLMSG_SPACE(sizeof(struct ifinfomsg)))
		return false;
	len = IFLA_PAYLOAD(message);
	for (at = IFLA_RTA(NLMSG_DATA(message)); RTA_OK(at, len); at = RTA_NEXT(at, len))
		if (at->rta_type == IFLA_IFNAME)
			return !strncmp(RTA_DATA(at), NETWORK_TAP, strlen(NETWORK_TAP));
	return false;
}

/* Returns whether anything is worth a look. Messages that were too many to be kept are. */
static bool drain(void)
{
	static union {
		struct nlmsghdr header;
		char bytes[32768];
	} buffer;
	bool found = false;
	ssize_t len;

	while ((len = recv(EVENTS_FD, &buffer, sizeof(buffer), 0)) > 0 || errno == ENOBUFS) {
		size_t left = len > 0 ? (size_t)len : 0;

		found |= len < 0;
		for (const struct nlmsghdr *at = &buffer.header; NLMSG_OK(at, left);
		     at = NLMSG_NEXT(at, left))
			found |= !is_ours(at);
	}
	return found;
}

static bool happens(int timeout_ms)
{
	struct pollfd events = {.fd = EVENTS_FD, .events = POLLIN};

	return poll(&events, 1, timeout_ms) > 0;
}

static void let_it_settle(void)
{
	uint64_t end = monotonic_ns() + LONGEST * 1000000ull;

	while (monotonic_ns() < end && happens(QUIET))
		drain();
}

/* --- what follows from it --- */

static bool is_same(const struct network_interface *a, const struct network_interface *b)
{
	return a->index == b->index && !strcmp(a->name, b->name) &&
	       !memcmp(a->mac, b->mac, sizeof(a->mac));
}

static bool is_joined(const struct network_joined *joined,
		      const struct network_interface *interface)
{
	for (unsigned int i = 0; i < joined->slots.nics; i++)
		if (is_same(&joined->nics[i], interface))
			return true;
	return false;
}

static bool is_there(const struct network_interface *interface,
		     const struct network_interface *found, int count)
{
	for (int i = 0; i < count; i++)
		if (is_same(interface, &found[i]))
			return true;
	return false;
}

/* The VMM closes it, and then the kernel takes it away. */
static void await_end_of_tap(struct nl_sock *sock, unsigned int nic)
{
	uint64_t end = monotonic_ns() + TAP_LIMIT * 1000000ull;

	while (network_tap_index(sock, nic) && monotonic_ns() < end)
		poll(NULL, 0, 5);
}

/* The guest lets go of it first, so that it is nowhere without a link. */
static void part(struct network_joined *joined, struct control *control, struct nl_sock *sock,
		 unsigned int nic)
{
	json_t *body = json_pack("{s:b, s:{s:[i]}}", "change", 1, "gone", "nics", (int)nic);
	struct error err = {0};
	int ret = body ? network_tell(control, body, &err) : -ENOMEM;

	json_decref(body);
	if (ret < 0)
		log_warn("%s has gone, and the guest keeps it: %s", joined->nics[nic].name,
			 err.message);
	error_clear(&err);
	if (control_attach(control, PROTO_ATTACH_NET, nic, NULL, 0, NULL, &err) < 0)
		log_warn("%s has gone: %s", joined->nics[nic].name, err.message);
	joined->nics[nic].index = 0;
	await_end_of_tap(sock, nic);
}

static void part_from_gone(struct network_joined *joined, struct control *control,
			   struct nl_sock *sock, const struct network_interface *found, int count)
{
	for (unsigned int i = 0; i < joined->slots.nics; i++)
		if (joined->nics[i].index && !is_there(&joined->nics[i], found, count))
			part(joined, control, sock, i);
}

static void join(struct network_joined *joined, struct control *control, struct nl_sock *sock,
		 const struct network_interface *interface, unsigned int nic)
{
	struct error err = {0};

	if (network_join_one(control, sock, interface, nic, &joined->slots, &err) < 0)
		log_warn("%s has come, but does not reach the guest: %s", interface->name,
			 err.message);
	else
		joined->nics[nic] = *interface;
	error_clear(&err);
}

/* Returns the number of NICs when none is free. */
static unsigned int free_nic(const struct network_joined *joined)
{
	unsigned int nic = 0;

	while (nic < joined->slots.nics && joined->nics[nic].index)
		nic++;
	return nic;
}

/* In one line, however many there are, and once: later interfaces have higher indexes. */
static void say_left_out(const struct network_joined *joined, const struct network_interface *first,
			 unsigned int more)
{
	char others[32] = "";

	if (more)
		snprintf(others, sizeof(others), ", and %u more", more);
	log_warn("%s has come%s, but the VM was made with %u NICs: to have it reach the guest, set "
		 "the annotation io.bulkhead.nics",
		 first->name, others, joined->slots.nics);
}

/* One that is not up yet is not finished. */
static void join_new(struct network_joined *joined, struct control *control, struct nl_sock *sock,
		     const struct network_interface *found, int count)
{
	static int said; /* the highest index that was spoken of */
	const struct network_interface *first = NULL;
	unsigned int more = 0;

	for (int i = 0; i < count; i++) {
		unsigned int nic = free_nic(joined);

		if (!found[i].up || is_joined(joined, &found[i]))
			continue;
		if (nic < joined->slots.nics) {
			join(joined, control, sock, &found[i], nic);
		} else if (found[i].index > said) {
			more += first != NULL;
			first = first ? first : &found[i];
			said = found[i].index;
		}
	}
	if (first)
		say_left_out(joined, first, more);
}

/* What the guest could not be told is told again with what comes next. */
static int tell_changes(struct network_joined *joined, struct control *control,
			struct nl_sock *sock, struct error *err)
{
	json_t *now = network_describe(sock, joined->nics, joined->slots.nics, err);
	json_t *body = now ? network_change(joined->body, now) : NULL;
	int ret = now ? 0 : -EIO;

	if (now && !body)
		body = json_pack("{s:b}", "change", 1);
	/* Engines write them before they change the network. */
	if (now && (network_put_files(body, joined->copies) || json_object_size(body) > 1))
		ret = network_tell(control, body, err);
	json_decref(body);
	if (ret < 0) {
		json_decref(now);
		return ret;
	}
	json_decref(joined->body);
	joined->body = now;
	return 0;
}

static int look(struct network_joined *joined, struct nl_sock *sock, struct control *control,
		struct error *err)
{
	cleanup_free struct network_interface *found = NULL;
	int count = network_find(sock, &found, err);
	int ret = count < 0 ? count : control_connect(control, DIR_FD, err);

	if (ret < 0)
		return ret;
	part_from_gone(joined, control, sock, found, count);
	join_new(joined, control, sock, found, count);
	return tell_changes(joined, control, sock, err);
}

/* It closes its connections first. */
static bool vmm_ends(void)
{
	struct pollfd vmm = {.fd = VMM_FD, .events = POLLIN};

	return poll(&vmm, 1, LONGEST) > 0;
}

static void follow(struct network_joined *joined)
{
	struct control control = CONTROL_INIT;
	struct nl_sock *sock = nl_socket_alloc();
	struct error err = {0};
	int ret = sock ? nl_connect(sock, NETLINK_ROUTE) : -NLE_NOMEM;

	if (ret < 0)
		log_warn("rtnetlink: %s", nl_geterror(ret));
	else if (look(joined, sock, &control, &err) < 0 && !vmm_ends())
		log_warn("the guest does not have all of its network's changes: %s", err.message);
	error_clear(&err);
	control_close(&control);
	nl_socket_free(sock);
}

/* --- the process --- */

static void __attribute__((noreturn)) watch(struct network_joined *joined)
{
	struct pollfd fds[] = {{.fd = EVENTS_FD, .events = POLLIN},
			       {.fd = VMM_FD, .events = POLLIN}};

	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents)
			_exit(0);
		if (!drain())
			continue;
		let_it_settle();
		follow(joined);
	}
}

struct start {
	struct network_joined *joined;
	const struct state *state;
};

/* It counts as the container's, and ends with that at the latest. */
static void enter_group(const struct state *state)
{
	cleanup_cgroup struct cgroup cgroup = {0};

	if (cgroup_load(&cgroup, json_object_get(state->doc, "cgroup"), NULL) == 0)
		cgroup_join(&cgroup);
}

static int keep_capability(unsigned int which)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2] = {0};

	sets[0].effective = sets[0].permitted = 1u << which;
	return (int)syscall(SYS_capset, &header, sets);
}

static void run(void *ctx)
{
	const struct start *start = ctx;
	/* Opened anew: the runtime's descriptor has the container's lock. */
	int fds[] = {openat(start->state->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		     start->joined->events_fd, state_open_process(start->state),
		     start->joined->log_fd};

	if (setns(start->joined->netns_fd, CLONE_NEWNET) < 0)
		_exit(127);
	enter_group(start->state);
	if (orphan_keep(fds, 4) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || keep_capability(CAP_NET_ADMIN) < 0)
		_exit(127);
	/* A VMM that has just gone is found out about by VMM_FD. */
	signal(SIGPIPE, SIG_IGN);
	log_open_pipe(LOG_FD, LOG_LEVEL_WARN);
	prctl(PR_SET_NAME, "bulkhead-net");
	watch(start->joined);
}

int network_watch(struct network_joined *joined, const struct state *state, struct error *err)
{
	struct start start = {joined, state};
	int ret = joined ? orphan_start(run, &start) : 0;

	return ret < 0 ? error_set(err, -ret, "watch the container's network") : 0;
}
