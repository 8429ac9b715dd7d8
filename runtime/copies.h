/*
 * Small files that an engine writes for one container, of which the guest has copies (binds.h).
 * Engines write some of them again: resolv.conf and hosts when they wire up the network, between
 * create and start or later.
 */
#ifndef RUNTIME_COPIES_H
#define RUNTIME_COPIES_H

#include "common/error.h"

#include <jansson.h>
#include <stddef.h>
#include <sys/stat.h>

#define COPY_MAX (64u << 10) /* bytes of one file */

/*
 * The content of a regular file that is open (O_PATH will do), in base64 and malloc'ed; NULL with
 * err, also for more than COPY_MAX.
 */
char *copy_read(int fd, size_t *len, struct error *err);

/* For state.json: mount number i is a copy of source as st has it. */
int copies_note(json_t *copies, size_t i, const char *source, const struct stat *st);

/*
 * NETWORK's "files" (docs/network.md): those that are not what they were, which copies then says
 * they are. NULL: none. What cannot be read is left as it was, and told in the log.
 */
json_t *copies_changed(json_t *copies);

#endif
