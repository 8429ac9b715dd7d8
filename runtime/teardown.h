/* The end of a container on the host: what was made outside of the VM is taken away. */
#ifndef RUNTIME_TEARDOWN_H
#define RUNTIME_TEARDOWN_H

#include "runtime/state.h"

/*
 * Removes control groups and state, and runs the poststop hooks. The VMM must have ended and the
 * lock be held. What cannot be removed keeps the state, so that it can be tried again.
 */
int teardown(struct state *state, struct error *err);

#endif
