/* Finding the executable as runc does, with Go's words in the errors, which engines look for. */
#ifndef GUEST_AGENT_LOOKUP_H
#define GUEST_AGENT_LOOKUP_H

#include "common/error.h"

/*
 * Looks name up in the PATH of env (NULL-terminated). *out is malloc'ed. The caller is the user
 * that will run it, in its working directory. Returns 0 or -errno.
 */
int executable_lookup(const char *name, const char *const *env, char **out, struct error *err);

#endif
