/*
 * Rate limits of a VM's NICs and disks (docs/network.md): from the settings net-rate and disk-rate,
 * and from linux.resources.blockIO. They are JSON, for the container's state: what `update` changes
 * is based on what was there.
 */
#ifndef RUNTIME_RATES_H
#define RUNTIME_RATES_H

#include "runtime/control_client.h"
#include "runtime/settings.h"

#include <jansson.h>

/* Understands the settings. NULL with err when they are wrong; the caller's. */
json_t *rates_read(const struct settings *settings, struct error *err);

/*
 * Completes it by the VM's NICs and disks, which are given by a descriptor of each: a block device,
 * or a file. -1: an empty drive.
 */
void rates_plan(json_t *rates, unsigned int nics, const int *disks, size_t count);

/*
 * The throttles of linux.resources.blockIO: each goes for the disks that are the device it names, a
 * part of it, or a file on those. Returns whether there was any; a rate of 0 is no limit.
 */
bool rates_throttle(json_t *rates, const json_t *resources);

/* Has the VMM keep them. */
int rates_send(const json_t *rates, struct control *control, struct error *err);

#endif
