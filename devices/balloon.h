/*
 * virtio-balloon (virtio 1.2, section 5.5) for free page reporting alone (5.5.6.7): the guest tells
 * which of its pages are free, and the host takes their memory back until they are touched again.
 * The balloon itself stays empty.
 */
#ifndef DEVICES_BALLOON_H
#define DEVICES_BALLOON_H

#include "common/error.h"
#include "devices/virtio.h"

struct balloon;

/* These bytes of guest memory, within one region, have no meaning to the guest any more. */
typedef void balloon_release_fn(void *ctx, void *bytes, size_t len);

int balloon_create(struct balloon **out, const struct guest_memory *mem,
		   balloon_release_fn *release, void *ctx, struct error *err);
void balloon_destroy(struct balloon *balloon);
struct virtio_device *balloon_device(struct balloon *balloon);

#endif
