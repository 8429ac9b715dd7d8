/* Devices that the VM got while it runs. */
#ifndef GUEST_AGENT_PLUG_H
#define GUEST_AGENT_PLUG_H

#include "common/error.h"

/*
 * Has the virtio-mmio driver look again at every place where it found nothing so far
 * (devices/virtio.h, absent). Returns 0 or a negative errno.
 */
int plug_devices(struct error *err);

/*
 * Takes the driver away from the device behind a network interface, which is gone with that.
 * plug_devices gives it back, unless the place is empty by then.
 */
int unplug_interface(const char *name, struct error *err);

#endif
