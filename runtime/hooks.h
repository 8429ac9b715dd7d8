/*
 * The hooks of a container that run on the host (config.md, "POSIX-platform Hooks"): all but
 * startContainer, which the guest's agent runs. They come from state.json, so that poststop needs
 * no bundle any more.
 */
#ifndef RUNTIME_HOOKS_H
#define RUNTIME_HOOKS_H

#include "runtime/state.h"

/*
 * Runs the hooks of one kind in turn, each with the state on its stdin. in_netns: in the VMM's
 * network namespace. interrupt_fd (or -1): when it is readable the hook is ended and the answer is
 * -EINTR. The first that fails, or is not done within its timeout, ends the series: a negative
 * errno and one line with what it said.
 */
int hooks_run(const struct state *state, const char *kind, const char *status, bool in_netns,
	      int interrupt_fd, struct error *err);

/* The same, but a failure is a warning, and the next hook runs all the same. */
void hooks_run_anyway(const struct state *state, const char *kind, const char *status);

/* Whether each hook of config is what the specification asks for. */
int hooks_check(json_t *config, struct error *err);

#endif
