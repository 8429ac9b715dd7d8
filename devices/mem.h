/*
 * virtio-mem (virtio 1.2, section 5.15): memory that a running guest is given, and gives back. The
 * owner says how much it is to have; the driver then plugs and unplugs blocks of its own choice in
 * the device's region, never more of them than that.
 *
 * What is not plugged has no contents and costs the host nothing as long as nobody touches it. A
 * guest that does touch it, by a CPU or by another device, gets memory there, as far as the region
 * has grown: no more than it was once asked to have.
 */
#ifndef DEVICES_MEM_H
#define DEVICES_MEM_H

#include "common/error.h"
#include "devices/virtio.h"

#define MEM_BLOCK (2ull << 20) /* bytes */

struct mem;

/* These bytes of guest memory, within one region, have no meaning to the guest any more. */
typedef void mem_release_fn(void *ctx, void *bytes, size_t len);

/*
 * The region is one of mem's, empty so far; its address and room are multiples of MEM_BLOCK, and so
 * is whatever it grows to.
 */
int mem_create(struct mem **out, const struct guest_memory *mem, const struct guest_region *region,
	       mem_release_fn *release, void *ctx, struct error *err);
void mem_destroy(struct mem *mem);
struct virtio_device *mem_device(struct mem *mem);

/*
 * Asks the driver to have so many bytes plugged, which may take it a while, or for ever. Returns
 * -EINVAL for what is no multiple of MEM_BLOCK or more than the region has grown to.
 */
int mem_request(struct mem *mem, uint64_t size);

/* Bytes that are asked for, and that are plugged. */
void mem_sizes(struct mem *mem, uint64_t *requested, uint64_t *plugged);

#endif
