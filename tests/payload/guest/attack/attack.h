/* What the parts of guest/attack.c share: rings as a driver knows them, and what each device is
 * asked. */
#ifndef TESTS_PAYLOAD_GUEST_ATTACK_H
#define TESTS_PAYLOAD_GUEST_ATTACK_H

#include "tests/payload/guest/virtio.h"

#include <linux/virtio_ids.h>

#define SIZE	 128 /* entries of a ring */
#define AREA	 PAYLOAD_DATA
#define AREA_END (PAYLOAD_MEMORY - 0x1000)
#define RING(q)	 (AREA + 0x20000 * (uint64_t)(q))
#define AVAIL	 0x8000
#define USED	 0x10000
#define DRAFTS	 0x18000 /* what a packed ring's chains are copied from */
#define BUFFERS	 (AREA + 0x100000)
#define TABLE	 (AREA + 0x400000) /* an indirect one, 65536 entries */

/* The device under attack, and whether its rings are to be packed. */
extern uint64_t base;
extern uint32_t id, queues;
extern bool packed;

static inline uint32_t get(uint32_t reg)
{
	return read32(base + reg);
}

static inline void put(uint32_t reg, uint32_t value)
{
	write32(base + reg, value);
}

static inline volatile struct vring_desc *desc(uint32_t q)
{
	return (volatile struct vring_desc *)(RING(q) + (packed ? DRAFTS : 0));
}

static inline volatile struct vring_packed_desc *packed_ring(uint32_t q)
{
	return (volatile struct vring_packed_desc *)RING(q);
}

static inline volatile struct vring_avail *avail(uint32_t q)
{
	return (volatile struct vring_avail *)(RING(q) + AVAIL);
}

static inline volatile struct vring_used *used(uint32_t q)
{
	return (volatile struct vring_used *)(RING(q) + USED);
}

/* --- driver.c --- */

void set_desc(uint32_t q, uint32_t i, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next);
void set_queue(uint32_t q, uint32_t size, uint64_t table, uint64_t driver, uint64_t device);

/* Resets the device and accepts these: its queues can be set then. */
void set_features(uint32_t low, uint32_t high);
uint32_t ring_size(uint32_t q);
bool queue_exists(uint32_t q);
bool offers_packed(void);

/* From a reset to a device that runs, with empty rings. */
void restart(void);

/* Makes the chain available that begins with this descriptor, and notifies. */
void offer(uint32_t q, uint32_t head);

/* Entry n since the start, where every chain of a packed ring before it had one descriptor. */
struct vring_used_elem wait_used(uint32_t q, uint16_t n);

/* --- devices.c --- */

/* After a reset the device has to serve as if nothing had been. */
void be_honest(void);

/* Something that the device would take for a request, at the address. */
void put_message(uint64_t at);

/* --- guest/attack.c --- */

uint64_t dice(void);
uint32_t any_length(void);

#endif
