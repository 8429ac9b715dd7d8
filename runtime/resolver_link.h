/*
 * The VMM's way to docker's resolver (docs/network.md). It may make no sockets; a small process in
 * the container's network namespace connects for it, to that one address, and passes each
 * connection over a socket. It ends with the VMM, whose end of that socket closes then.
 */
#ifndef RUNTIME_RESOLVER_LINK_H
#define RUNTIME_RESOLVER_LINK_H

#include "common/error.h"

/* From inside the namespace. Returns the VMM's end of the socket, or a negative errno. */
int resolver_link_start(struct error *err);

#endif
