/* virtio-rng (virtio 1.2, section 5.4): getrandom(2) of the host, bounded per request. */
#ifndef DEVICES_RNG_H
#define DEVICES_RNG_H

#include "common/error.h"
#include "devices/virtio.h"

struct rng;

int rng_create(struct rng **out, const struct guest_memory *mem, struct error *err);
void rng_destroy(struct rng *rng);
struct virtio_device *rng_device(struct rng *rng);

#endif
