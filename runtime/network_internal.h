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

/* network_scan.c */

/*
 * Finds the interfaces that can be joined, at most NETWORK_NICS_MAX, in the order of their indexes.
 * Returns how many, or a negative errno.
 */
int network_find(struct nl_sock *sock, struct network_interface *found, struct error *err);

/* NETWORK's body (docs/network.md) for these, NIC i for found[i]; NULL with err when it fails. */
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

#endif
