/* The five capability sets of an OCI process, by libcap-ng. */
#ifndef GUEST_AGENT_CAPABILITIES_H
#define GUEST_AGENT_CAPABILITIES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct capability_sets {
	uint64_t bounding, effective, inheritable, permitted, ambient;
};

/* Absent "capabilities" mean none. Names that this kernel does not know are left out, as runc. */
int capabilities_parse(const json_t *process, struct capability_sets *out, struct error *err);

/* First the bounding set, while CAP_SETPCAP is there; the others after the user was changed. */
int capabilities_bound(const struct capability_sets *sets, struct error *err);
int capabilities_apply(const struct capability_sets *sets, struct error *err);

#endif
