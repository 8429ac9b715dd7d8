/* HOME, when the config sets none: what the image's /etc/passwd says, as runc does. */
#ifndef GUEST_AGENT_USER_HOME_H
#define GUEST_AGENT_USER_HOME_H

#include <sys/types.h>

#include "common/error.h"

/* Adds HOME to the malloc'ed vector *env if it is not there. Runs inside the container. */
int user_home_add(const char ***env, uid_t uid, struct error *err);

#endif
