/*
 * DNS of the container's network namespace. Docker has its resolver for user-defined networks on a
 * loopback address of that namespace, which the guest has one of its own of: the agent listens
 * there and connects to PROTO_PORT_RESOLVER. The VMM can connect to nothing by itself; who can is a
 * process that the runtime leaves in the namespace (runtime/resolver_link.h), at the other end of
 * a socket that comes with ATTACH.
 */
#ifndef VMM_RESOLVER_H
#define VMM_RESOLVER_H

#include "common/error.h"
#include "devices/vsock.h"
#include "protocol/protocol.h"

/* Takes the socket out of an ATTACH of PROTO_ATTACH_RESOLVER. Returns 0 or a negative errno. */
int resolver_attach(int *link_fd, const struct proto_frame *frame, struct error *err);

/* For vsock_connect_fn: asks for a connection. Returns 0 or a negative errno. */
int resolver_connect(int link_fd, struct vsock_endpoint *endpoint);

#endif
