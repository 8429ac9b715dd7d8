/* What the parts of network.c share: reading NETWORK's body, and one rtnetlink socket to set it up
 * by. */
#ifndef GUEST_AGENT_NETWORK_INTERNAL_H
#define GUEST_AGENT_NETWORK_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "guest-agent/netlink.h"

#define NICS_MAX 8

struct network {
	int fd;
	int index_of_nic[NICS_MAX]; /* 0: there is no such NIC */
	bool described[NICS_MAX];
	bool change;   /* what the body does not speak of stays as it is */
	bool removing; /* routes and the like: they are taken away */
};

struct address {
	uint8_t family;
	uint8_t len;	/* bytes */
	uint8_t prefix; /* bits */
	uint8_t bytes[16];
};

/* Begins a message that adds something, or while removing takes it away. */
void network_begin(const struct network *network, struct netlink_message *message, uint16_t add,
		   uint16_t remove, uint16_t flags, const void *body, size_t len);

/*
 * network_read.c: as the readers of spec.h, they return 1, 0 where the key is absent, or a negative
 * errno.
 */
int network_get_address(const json_t *object, const char *where, const char *key,
			struct address *out, struct error *err);
int network_get_mac(const json_t *object, const char *where, uint8_t mac[6], struct error *err);
/* An absent number is what it was. */
int network_get_number(const json_t *object, const char *where, const char *key, uint32_t *out,
		       struct error *err);
/* The interface that "dev" names, by its index; it has to be there. Returns 0 or -errno. */
int network_get_device(const json_t *object, const char *where, int *index, struct error *err);

/* network_link.c: all return 0 or a negative errno. Fills in index_of_nic. */
int network_find_nics(struct network *network, struct error *err);
/* Gets the names out of the way that these interfaces are to have. */
int network_free_names(struct network *network, const json_t *interfaces, struct error *err);
/* One interface with all that belongs to it. */
int network_set_interface(struct network *network, const json_t *item, const char *where,
			  struct error *err);
/* name and mac may be NULL, mtu 0: they stay. flags: IFF_UP or 0. */
int network_change_link(const struct network *network, int index, uint32_t flags, const char *name,
			const uint8_t *mac, uint32_t mtu);
int network_add_address(const struct network *network, int index, const json_t *item,
			const char *where, struct error *err);

/*
 * network_route.c: each adds one, or while removing takes it away. Returns 0 or a negative errno.
 * Of the routes far ones lead by way of a router, near ones do not: each function leaves the others
 * alone.
 */
int network_add_near_route(const struct network *network, const json_t *item, struct error *err);
int network_add_far_route(const struct network *network, const json_t *item, struct error *err);
int network_add_neighbour(const struct network *network, const json_t *item, struct error *err);
int network_add_rule(const struct network *network, const json_t *item, struct error *err);

#endif
