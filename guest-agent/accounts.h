/*
 * What the image's /etc/passwd and /etc/group say. The image is hostile: only regular files count,
 * and only so many lines of them. For use inside the container, whose root is the only one there
 * is.
 */
#ifndef GUEST_AGENT_ACCOUNTS_H
#define GUEST_AGENT_ACCOUNTS_H

#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"

struct account {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* malloc'ed */
	size_t group_count;
};

/*
 * USER[:GROUP], names or numbers, as an image's "User": a user's own group and the groups that list
 * the user, unless GROUP is said. A number needs no line. Returns 0 or -errno.
 */
int account_find(const char *text, struct account *out, struct error *err);

/* The home directory, malloc'ed; NULL when there is none. */
char *account_home(uid_t uid);

#endif
