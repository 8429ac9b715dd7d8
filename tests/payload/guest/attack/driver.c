/* An honest driver of the device under attack: any number of split or packed rings
 * (virtio 1.2, 2.7, 2.8, 4.2.3). */
#include "tests/payload/guest/attack/attack.h"

uint64_t base;
uint32_t id, queues;
bool packed;
static uint32_t next_slot[8]; /* of each packed ring, not cut to its size */
static uint32_t sizes[8];

void set_desc(uint32_t q, uint32_t i, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next)
{
	desc(q)[i].addr = addr;
	desc(q)[i].len = len;
	desc(q)[i].flags = (uint16_t)flags;
	desc(q)[i].next = (uint16_t)next;
}

static void clear_rings(void)
{
	for (uint32_t q = 0; q < queues; q++)
		for (uint64_t at = RING(q); at < RING(q) + DRAFTS + 0x1000; at += 8)
			*(volatile uint64_t *)at = 0;
}

void set_queue(uint32_t q, uint32_t size, uint64_t table, uint64_t driver, uint64_t device)
{
	put(VIRTIO_MMIO_QUEUE_SEL, q);
	put(VIRTIO_MMIO_QUEUE_NUM, size);
	put(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)table);
	put(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(table >> 32));
	put(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)driver);
	put(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(driver >> 32));
	put(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)device);
	put(VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(device >> 32));
	put(VIRTIO_MMIO_QUEUE_READY, 1);
}

void set_features(uint32_t low, uint32_t high)
{
	put(VIRTIO_MMIO_STATUS, 0);
	guest_check(get(VIRTIO_MMIO_STATUS) == 0);
	put(VIRTIO_MMIO_STATUS, 1);
	put(VIRTIO_MMIO_STATUS, 3);
	put(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	put(VIRTIO_MMIO_DRIVER_FEATURES, low);
	put(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	put(VIRTIO_MMIO_DRIVER_FEATURES, high);
	put(VIRTIO_MMIO_STATUS, 11);
}

uint32_t ring_size(uint32_t q)
{
	uint32_t max;

	put(VIRTIO_MMIO_QUEUE_SEL, q);
	max = get(VIRTIO_MMIO_QUEUE_NUM_MAX);
	return max < SIZE ? max : SIZE;
}

bool queue_exists(uint32_t q)
{
	put(VIRTIO_MMIO_QUEUE_SEL, q);
	return get(VIRTIO_MMIO_QUEUE_NUM_MAX) > 0;
}

/* virtiofsd does not, and so neither its device. */
bool offers_packed(void)
{
	put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	return get(VIRTIO_MMIO_DEVICE_FEATURES) & 1u << (VIRTIO_F_RING_PACKED - 32);
}

void restart(void)
{
	set_features(1u << VIRTIO_RING_F_INDIRECT_DESC, packed ? 5 : 1);
	clear_rings();
	for (uint32_t q = 0; q < queues; q++) {
		next_slot[q] = 0;
		sizes[q] = ring_size(q);
		set_queue(q, sizes[q], RING(q), RING(q) + AVAIL, RING(q) + USED);
	}
	put(VIRTIO_MMIO_STATUS, 15);
}

/* As the chain is in the drafts, as long as its descriptors follow each other there. */
static void offer_packed(uint32_t q, uint32_t head)
{
	uint32_t size = ring_size(q), first = next_slot[q], i = head % SIZE;
	uint16_t flags, first_flags = 0;

	do {
		volatile struct vring_desc *draft = &desc(q)[i];
		uint32_t slot = next_slot[q]++;

		flags = draft->flags & 7;
		packed_ring(q)[slot % size].addr = draft->addr;
		packed_ring(q)[slot % size].len = draft->len;
		packed_ring(q)[slot % size].id = (uint16_t)head;
		flags |= (uint16_t)(1u << (slot / size % 2 ? VRING_PACKED_DESC_F_USED
							   : VRING_PACKED_DESC_F_AVAIL));
		if (slot == first)
			first_flags = flags;
		else
			packed_ring(q)[slot % size].flags = flags;
	} while (flags & VRING_DESC_F_NEXT && ++i < SIZE);
	barrier();
	packed_ring(q)[first % size].flags = first_flags;
	put(VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

void offer(uint32_t q, uint32_t head)
{
	uint16_t idx = avail(q)->idx;

	if (packed) {
		offer_packed(q, head);
		return;
	}
	avail(q)->ring[idx % ring_size(q)] = (uint16_t)head;
	barrier();
	avail(q)->idx = (uint16_t)(idx + 1);
	put(VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

/* Flags that are alike are a used descriptor's; what they are like changes with every lap. */
static bool is_used(uint32_t q, uint16_t n)
{
	uint16_t both = 1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED;
	uint32_t size = sizes[q];

	if (packed)
		return (packed_ring(q)[n % size].flags & both) == (n / size % 2 ? 0 : both);
	return (int16_t)(used(q)->idx - (n + 1)) >= 0;
}

struct vring_used_elem wait_used(uint32_t q, uint16_t n)
{
	uint32_t at = n % sizes[q];

	while (!is_used(q, n))
		guest_check(!(get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET));
	barrier();
	if (packed)
		return (struct vring_used_elem){packed_ring(q)[at].id, packed_ring(q)[at].len};
	return (struct vring_used_elem){used(q)->ring[at].id, used(q)->ring[at].len};
}
