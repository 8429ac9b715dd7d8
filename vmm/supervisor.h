/*
 * Runs one container: puts machine, control sockets, streams, signals and time limits on one loop
 * and decides when and how all of it ends.
 */
#ifndef VMM_SUPERVISOR_H
#define VMM_SUPERVISOR_H

#include <stdint.h>

#include "vmm/options.h"
#include "vmm/stdio.h"

/*
 * Returns how to end, as waitpid would give it. stdio is used up. started_ns: CLOCK_MONOTONIC at
 * the start of the process. All signals are blocked by the caller already.
 */
int supervisor_run(const struct vmm_options *options, struct stdio *stdio, uint64_t started_ns);

#endif
