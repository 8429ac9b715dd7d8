/*
 * User-mode networking through passt(1): the guest's traffic becomes ordinary sockets of an
 * ordinary user. For who has no right to make interfaces.
 */
#ifndef RUNTIME_PASST_H
#define RUNTIME_PASST_H

#include "common/error.h"

#include <jansson.h>

/* Checks a list of ports, "8080:80,5353:53/udp". NULL is an empty one. */
int passt_check_ports(const char *ports, struct error *err);

/*
 * Starts passt for one guest, which ends with the connection; it is nobody's child. Returns the
 * connection, a stream of frames, or a negative errno.
 */
int passt_start(const char *ports, struct error *err);

/* NETWORK's body for a guest behind passt. */
json_t *passt_describe(void);

#endif
