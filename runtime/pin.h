/*
 * vCPUs that stay on one CPU of the host each (io.bulkhead.pin): vCPU n has the n-th CPU of the
 * list, in its order. All other threads of the VMM go where its control group lets them.
 */
#ifndef RUNTIME_PIN_H
#define RUNTIME_PIN_H

#include "common/error.h"

#include <stdint.h>
#include <sys/types.h>

/* Whether list names a CPU for each vCPU. NULL, nothing is pinned, is right. */
int pin_check(const char *list, uint32_t vcpus, struct error *err);

/*
 * Pins the vCPUs of a VMM that is known to live. To be done again whenever the group's CPUs were
 * set: kernels before 6.2 forget about it then.
 */
int pin_apply(pid_t vmm, const char *list, struct error *err);

#endif
