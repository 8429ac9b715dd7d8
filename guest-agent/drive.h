/* The disks of the VM, as the guest's kernel sees them. */
#ifndef GUEST_AGENT_DRIVE_H
#define GUEST_AGENT_DRIVE_H

#include "common/error.h"

/*
 * Waits until a disk has a size: in a clone of a template it is put into an empty drive, and the
 * kernel notices at about the time when we hear of it.
 */
int drive_wait(const char *device, struct error *err);

#endif
