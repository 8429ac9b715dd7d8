/*
 * Whose files and rights the runtime has. An engine without root runs it as root of a user
 * namespace: that has capabilities there, but /run, /var and the control groups are the host's.
 */
#ifndef RUNTIME_USER_H
#define RUNTIME_USER_H

#include <stdbool.h>

/* Root of the host, or of a system container with folders of its own. */
bool user_is_root(void);

/* The home: $HOME, or what passwd says of who we are outside of a rootless engine's namespace. */
const char *user_home(void);

/* Where that user's sockets and states are: $XDG_RUNTIME_DIR, or where it usually is. NULL: no
 * memory. */
char *user_runtime_dir(void);

#endif
