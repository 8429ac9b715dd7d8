/*
 * The memory of a VM that runs follows the workload's limit: upward before the limit is raised,
 * downward after it was lowered. The VMM's limit on the host goes with it.
 */
#ifndef RUNTIME_VM_GROW_H
#define RUNTIME_VM_GROW_H

#include "runtime/control_client.h"
#include "runtime/state.h"

/*
 * Makes the VM as large as one with that limit (bytes) would have been made, and waits until its
 * guest has all of it. -ERANGE when there is no room for the limit; then, and when the guest does
 * not take what it is given in time, it is as it was before.
 */
int vm_grow(struct state *state, struct control *control, uint64_t limit, struct error *err);

/*
 * Takes back what such a VM would not have. The guest gives what it can, and tries again now and
 * then: so may the caller, for the host's limit.
 */
int vm_shrink(struct state *state, struct control *control, uint64_t limit, struct error *err);

#endif
