/*
 * DNS of the container's network namespace. Docker has its resolver for user-defined networks on a
 * loopback address of that namespace, which the guest has one of its own of: the agent listens
 * there and connects to PROTO_PORT_RESOLVER, and the VMM, which lives in the namespace, connects
 * on.
 */
#ifndef VMM_RESOLVER_H
#define VMM_RESOLVER_H

#include "devices/vsock.h"

/* For vsock_connect_fn. Returns 0 or a negative errno. */
int resolver_connect(struct vsock_endpoint *endpoint);

#endif
