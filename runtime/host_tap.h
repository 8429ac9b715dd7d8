/*
 * A tap that somebody else has made, in the runtime's own network namespace, as a guest's only
 * interface: "NAME[,mac=MAC][,ip=ADDRESS/PREFIX]...[,gw=ADDRESS]..." (docs/network.md).
 */
#ifndef RUNTIME_HOST_TAP_H
#define RUNTIME_HOST_TAP_H

#include "common/error.h"

#include <jansson.h>

/* That text is understood, and that the tap is there, is one, and is free. */
int host_tap_check(const char *text, struct error *err);

/*
 * Opens the tap: one queue, or as many as wanted if it was made with several. Returns how many
 * descriptors of fds it filled in, the caller's, or a negative errno.
 */
int host_tap_open(const char *text, unsigned int wanted, int *fds, struct error *err);

/* NETWORK's body for a guest behind it, or NULL with the reason. */
json_t *host_tap_describe(const char *text, struct error *err);

#endif
