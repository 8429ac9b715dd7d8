/* What the parts of the network module share. All of it runs inside the container's namespace. */
#ifndef RUNTIME_NETWORK_INTERNAL_H
#define RUNTIME_NETWORK_INTERNAL_H

#include "runtime/network.h"

#include <net/if.h>
#include <stdbool.h>

struct nl_sock;

/* An interface that an engine gave the container. */
struct network_interface {
	char name[IFNAMSIZ];
	int index;
	unsigned int mtu;
	bool up;
	bool ipv6;
	uint8_t mac[6];
};

#define NETWORK_TAP "bulkhead" /* with the NIC's number behind it */
#define QUEUES_MAX  4	       /* pairs of queues of a NIC: devices/net.h, NET_PAIRS_MAX */

/* network_scan.c */

/*
 * Finds the interfaces that can be joined, in the order of their indexes: there may be more than a
 * VM has NICs. Returns how many, with a list for the caller to free; or a negative errno.
 */
int network_find(struct nl_sock *sock, struct network_interface **out, struct error *err);

/*
 * NETWORK's body (docs/network.md) for these, NIC i for found[i], where that has an index; NULL
 * with err when it fails.
 */
json_t *network_describe(struct nl_sock *sock, const struct network_interface *found,
			 unsigned int count, struct error *err);

/* network_tap.c */

/*
 * Makes a tap of so many queues for NIC nic, and has all that arrives at either leave at the other.
 * fds gets queues descriptors, the caller's. -EBUSY when the namespace has another VM's tap of that
 * name.
 */
int network_tap(struct nl_sock *sock, const struct network_interface *interface, unsigned int nic,
		unsigned int queues, int *fds, struct error *err);

void network_tap_name(unsigned int nic, char name[IFNAMSIZ]);

/* 0 when there is none. */
int network_tap_index(struct nl_sock *sock, unsigned int nic);

/* network_vhost.c */

/* What the settings say, checked against what is there. Returns an enum network_vhost. */
int network_vhost_plan(const struct settings *settings, struct error *err);

/* Hands the VMM so many queues of a tap for this NIC, and vhost-net with them. They stay ours. */
int network_attach(struct control *control, unsigned int nic, const int *fds, unsigned int count,
		   enum network_vhost vhost, struct error *err);

/* network_change.c */

/*
 * NETWORK's body for a guest that has been told from, and is to have to. NULL when there is nothing
 * to say, or no memory. Pure. What NICs have gone it does not say.
 */
json_t *network_change(const json_t *from, const json_t *to);

/* network.c: what network_watch.c needs as well. */

/*
 * Calls run in another network namespace, on a thread of its own: what it opens there stays so, and
 * nobody has to come back, which a rootless engine's namespace has not the right to do. Returns
 * what run does, or a negative errno.
 */
int network_visit(int netns_fd, int (*run)(struct nl_sock *sock, void *ctx, struct error *err),
		  void *ctx, struct error *err);

/* What of the namespace the guest has. */
struct network_joined {
	struct network_interface nics[NETWORK_NICS_MAX]; /* index 0: nothing is joined to it */
	struct network_slots slots;
	struct control *control; /* of who joined them, while it does */
	json_t *body;		 /* what the guest was told */
	json_t *copies;		 /* copies.h; what of them it has */
	int netns_fd;
	int events_fd; /* has something to read when anything was changed there since */
	int log_fd;    /* lines that are written here go into the VMM's log */
};

/* Makes a tap for this NIC and hands it to the VMM. */
int network_join_one(struct control *control, struct nl_sock *sock,
		     const struct network_interface *interface, unsigned int nic,
		     const struct network_slots *slots, struct error *err);

/* Sends it a NETWORK, and before that the way to a resolver where body has one. */
int network_tell(struct control *control, const json_t *body, struct error *err);

/* Puts those of the copies that have changed into body. Returns whether there were any. */
bool network_put_files(json_t *body, json_t *copies);

/* network_watch.c */

/* A socket that hears of changes in the namespace that we are in, or a negative errno. */
int network_watch_open(void);

#endif
