/*
 * The container's DNS at 127.0.0.11, where docker's resolver is on the host's side: every query
 * goes there by a connection of its own (vmm/resolver.h), as DNS over TCP (RFC 7766).
 */
#ifndef GUEST_AGENT_RESOLVER_H
#define GUEST_AGENT_RESOLVER_H

#include "common/error.h"
#include "common/loop.h"

/* Starts listening, for good. Harmless twice. */
int resolver_start(struct loop *loop, struct error *err);

#endif
