/* The guest's interfaces, addresses, routes, neighbours and rules, as NETWORK's body has them. */
#ifndef GUEST_AGENT_NETWORK_H
#define GUEST_AGENT_NETWORK_H

#include <jansson.h>

#include "common/error.h"

/*
 * Sets up what the body says (docs/network.md). What is there already stays; NICs of which it says
 * nothing go down, unless it is a change. Returns 0 or a negative errno.
 */
int network_apply(const json_t *body, struct error *err);

#endif
