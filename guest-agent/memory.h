/* Memory that comes to the guest while it runs (virtio-mem). */
#ifndef GUEST_AGENT_MEMORY_H
#define GUEST_AGENT_MEMORY_H

#include <stdint.h>

#include "common/error.h"

/* Bytes that the kernel manages now. */
uint64_t memory_total(void);

/* Waits until it manages so many. Returns 0 or a negative errno: it takes them in time, or not. */
int memory_await(uint64_t total, struct error *err);

#endif
