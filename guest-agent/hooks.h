/*
 * startContainer hooks (config.md, "StartContainer Hooks"): run inside the container, as its
 * process 0 and with that one's rights, between start and the exec.
 */
#ifndef GUEST_AGENT_HOOKS_H
#define GUEST_AGENT_HOOKS_H

#include "common/error.h"

#include <jansson.h>

/* document: CREATE's. The first hook that fails ends the series. Returns 0 or a negative errno. */
int hooks_run(const json_t *document, struct error *err);

#endif
