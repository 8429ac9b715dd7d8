/* A machine that goes on from a template becomes one of its own (docs/templates.md). */
#ifndef GUEST_AGENT_IDENTITY_H
#define GUEST_AGENT_IDENTITY_H

#include "common/error.h"
#include "protocol/protocol.h"

/* Fresh entropy into the kernel's random numbers, at once, and the host's time. */
int identity_renew(const struct proto_resumed *resumed, struct error *err);

/* The host's time alone. */
int identity_set_time(uint64_t realtime_ns, struct error *err);

#endif
