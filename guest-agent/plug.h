/* Devices that the VM got while it runs. */
#ifndef GUEST_AGENT_PLUG_H
#define GUEST_AGENT_PLUG_H

#include "common/error.h"

/*
 * Has the virtio-mmio driver look again at every place where it found nothing so far
 * (devices/virtio.h, absent). Returns 0 or a negative errno.
 */
int plug_devices(struct error *err);

#endif
