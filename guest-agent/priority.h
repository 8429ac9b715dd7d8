/* How the kernel schedules a process and which kernel it believes in: ioPriority, scheduler,
 * personality. */
#ifndef GUEST_AGENT_PRIORITY_H
#define GUEST_AGENT_PRIORITY_H

#include "common/error.h"

#include <jansson.h>

/*
 * Sets what process.ioPriority, process.scheduler and config.linux.personality say for the calling
 * process, which must still have its capabilities. Returns 0 or a negative errno.
 */
int priority_set(const json_t *config, const json_t *process, struct error *err);

#endif
