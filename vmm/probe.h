/* Finds out whether KVM here runs a guest kernel natively. */
#ifndef VMM_PROBE_H
#define VMM_PROBE_H

#include "common/error.h"

/* Takes milliseconds. The message says what is wrong and what to do. */
int probe_host(struct error *err);

#endif
