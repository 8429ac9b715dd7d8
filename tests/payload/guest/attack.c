/*
 * A driver that attacks. It knows how each device is used (virtio 1.2, section 5) and does all
 * else: the scripted attacks one after the other, or at random until the test says stop. Whatever
 * it did, after a reset the device has to serve it honestly.
 *
 * Addresses that it gives to a device are in the data area or outside of memory: a guest that has
 * its own code overwritten would only fail to attack.
 */
#include "tests/payload/guest/attack/attack.h"

static uint64_t random_state;

uint64_t dice(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* --- what an attacker puts into rings --- */

static uint64_t bad_address(void)
{
	static const uint64_t addresses[] = {
		PAYLOAD_MEMORY,	       PAYLOAD_MEMORY - 1, PAYLOAD_MEMORY - 15, UINT64_MAX,
		UINT64_MAX - 15,       UINT64_MAX - 0xfff, 1ull << 63,		LAYOUT_VIRTIO,
		LAYOUT_LAPIC,	       0xffffffff,	   0x100000000,		0x7fffffffffff,
		0xffff800000000000ull, PAYLOAD_MEMORY * 2,
	};

	return addresses[dice() % (sizeof(addresses) / sizeof(addresses[0]))];
}

static uint64_t any_address(void)
{
	if (dice() % 4 == 0)
		return bad_address();
	return AREA + dice() % (AREA_END - AREA - 0x20000);
}

uint32_t any_length(void)
{
	switch (dice() % 6) {
	case 0:
		return 0;
	case 1:
		return 1;
	case 2:
		return UINT32_MAX - (uint32_t)(dice() % 16);
	case 3:
		return (uint32_t)dice();
	default:
		return (uint32_t)(dice() % 0x2000);
	}
}

static void put_any_desc(volatile struct vring_desc *table, uint32_t i, uint32_t count)
{
	uint64_t addr = any_address();

	if (addr >= AREA && addr < AREA_END - 0x20000 && dice() % 2)
		put_message(addr);
	table[i].addr = addr;
	table[i].len = dice() % 2 ? (uint32_t)(dice() % 0x1000) : any_length();
	table[i].flags = (uint16_t)(dice() % 8 ? dice() % 4 : dice());
	table[i].next = (uint16_t)(dice() % 4 ? (i + 1) % count : dice());
}

static void put_any_chain(uint32_t q)
{
	uint32_t head = (uint32_t)(dice() % SIZE);

	for (uint32_t i = 0; i < 4; i++)
		put_any_desc(desc(q), (head + i) % SIZE, SIZE);
	if (dice() % 8 == 0) {
		for (uint32_t i = 0; i < 8; i++)
			put_any_desc((volatile struct vring_desc *)TABLE, i, 8);
		set_desc(q, head, TABLE, (uint32_t)(dice() % 4 ? 128 : dice()),
			 VRING_DESC_F_INDIRECT, 0);
	}
	offer(q, dice() % 16 ? head : (uint32_t)dice());
}

/* --- scripted attacks --- */

static void attack_registers(void)
{
	for (uint32_t offset = 0; offset < 0x200; offset++) {
		uint64_t at = base + offset;

		for (uint32_t i = 0; i < 4; i++) {
			/* Not the rings' addresses: they would let the device write anywhere. */
			bool ring = offset + 8 > VIRTIO_MMIO_QUEUE_DESC_LOW &&
				    offset < VIRTIO_MMIO_QUEUE_USED_HIGH + 4;
			uint64_t value = i == 0 ? 0 : i == 1 ? UINT64_MAX : dice();

			read8(at);
			read16(at);
			read32(at);
			read64(at);
			write8(at, (uint8_t)value);
			write16(at, (uint16_t)value);
			if (ring)
				continue;
			write32(at, (uint32_t)value);
			write64(at, value);
		}
	}
	/* Across the end of the page and into the next slot. */
	read64(base + 0x1fc);
	write64(base + 0x1fc, 0);
}

static void attack_addresses(void)
{
	for (uint32_t round = 0; round < 40; round++) {
		restart();
		for (uint32_t q = 0; q < queues; q++) {
			uint32_t flags = round & 1 ? VRING_DESC_F_WRITE : 0;

			put_message(BUFFERS);
			set_desc(q, 0, BUFFERS, 64, VRING_DESC_F_NEXT, 1);
			set_desc(q, 1, bad_address(), any_length(), flags | VRING_DESC_F_NEXT, 2);
			set_desc(q, 2, AREA_END - 0x10, UINT32_MAX, flags, 0);
			offer(q, round % 3);
		}
	}
}

static void attack_chains(void)
{
	volatile struct vring_desc *table = (volatile struct vring_desc *)TABLE;

	/* To itself, in a circle, out of the table. */
	restart();
	for (uint32_t q = 0; q < queues; q++) {
		set_desc(q, 0, BUFFERS, 16, VRING_DESC_F_NEXT, 0);
		offer(q, 0);
	}
	restart();
	for (uint32_t q = 0; q < queues; q++) {
		for (uint32_t i = 0; i < SIZE; i++)
			set_desc(q, i, BUFFERS, 16, VRING_DESC_F_NEXT, (i + 1) % SIZE);
		offer(q, 5);
	}
	/* 65,536 long, and tables in tables. */
	for (uint32_t flags = 0; flags < 8; flags++) {
		restart();
		for (uint32_t i = 0; i < 65536; i++) {
			table[i].addr = BUFFERS + i % 0x1000;
			table[i].len = 16;
			table[i].flags = (uint16_t)((flags & ~1u) | VRING_DESC_F_NEXT);
			table[i].next = (uint16_t)(i + 1);
		}
		for (uint32_t q = 0; q < queues; q++) {
			set_desc(q, 0, TABLE, 65536 * 16, VRING_DESC_F_INDIRECT, 0);
			offer(q, 0);
			set_desc(q, 1, TABLE, 0, VRING_DESC_F_INDIRECT, 0);
			offer(q, 1);
			set_desc(q, 2, TABLE, 17, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 2);
			offer(q, 2);
		}
	}
}

/* The rings are moved, and the queue made larger, while requests are under way. */
static void attack_moves(void)
{
	for (uint32_t round = 0; round < 40; round++) {
		restart();
		for (uint32_t q = 0; q < queues; q++) {
			put_any_chain(q);
			set_queue(q, 0xffff, bad_address(), bad_address(), bad_address());
			set_queue(q, SIZE, RING(q) + 0x40000, RING(q) + 0x48000, RING(q) + 0x50000);
			put(VIRTIO_MMIO_QUEUE_READY, 0);
			put_any_chain(q);
		}
		/* A ring that is half outside of memory, and one on top of another. */
		set_features(1u << VIRTIO_RING_F_INDIRECT_DESC, 1);
		for (uint32_t q = 0; q < queues; q++)
			set_queue(q, SIZE, PAYLOAD_MEMORY - 64, RING(q), RING(q));
		put(VIRTIO_MMIO_STATUS, 15);
		put(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	}
}

static void attack_features(void)
{
	for (uint32_t round = 0; round < 200; round++) {
		set_features((uint32_t)dice(), (uint32_t)(dice() % 16));
		for (uint32_t q = 0; q < queues; q++)
			set_queue(q, ring_size(q), RING(q), RING(q) + AVAIL, RING(q) + USED);
		put(VIRTIO_MMIO_STATUS, 15);
		/* Too late now. */
		put(VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
		put(VIRTIO_MMIO_STATUS, 7);
		put(VIRTIO_MMIO_STATUS, 11);
		put_any_chain((uint32_t)(dice() % queues));
		put(VIRTIO_MMIO_STATUS, UINT32_MAX);
	}
}

static void attack_resets(void)
{
	for (uint32_t round = 0; round < 300; round++) {
		restart();
		for (uint32_t i = 0; i < round % 8; i++)
			put_any_chain((uint32_t)(dice() % queues));
		put(VIRTIO_MMIO_STATUS, 0);
		put(VIRTIO_MMIO_STATUS, 0);
	}
}

static void attack_notifications(void)
{
	restart();
	for (uint32_t i = 0; i < 20000; i++)
		put(VIRTIO_MMIO_QUEUE_NOTIFY, i % 8 ? i % queues : (uint32_t)dice());
	for (uint32_t q = 0; q < queues; q++) {
		avail(q)->idx = 0xffff;
		put(VIRTIO_MMIO_QUEUE_NOTIFY, q);
	}
}

/* Descriptors and requests change while the device reads them. */
static void attack_changes(void)
{
	for (uint32_t round = 0; round < 100; round++) {
		uint32_t q = round % queues;

		restart();
		for (uint32_t i = 0; i < SIZE; i++)
			set_desc(q, i, BUFFERS, 64, (i & 1) | VRING_DESC_F_NEXT, i + 1);
		for (uint32_t i = 0; i < 16; i++)
			offer(q, i * 8);
		for (uint32_t i = 0; i < 2000; i++) {
			uint32_t at = i % SIZE;

			desc(q)[at].len = any_length();
			desc(q)[at].addr = i & 1 ? BUFFERS : bad_address();
			desc(q)[at].next = (uint16_t)dice();
			desc(q)[at].flags = (uint16_t)(dice() % 8);
			*(volatile uint64_t *)(BUFFERS + 8 * (dice() % 8)) = dice();
			/* Where the device itself reads. */
			*(volatile uint64_t *)(RING(q) + 8 * (dice() % (2 * SIZE))) = dice();
			if (i % 64 == 0)
				avail(q)->idx = (uint16_t)(avail(q)->idx + 1);
		}
	}
}

/* --- random attacks --- */

static void set_any_queue(void)
{
	uint32_t q = (uint32_t)(dice() % queues);
	uint64_t at = dice() % 4 ? RING(q) : any_address();

	set_queue(q, dice() % 4 ? ring_size(q) : (uint32_t)dice(), at,
		  dice() % 4 ? RING(q) + AVAIL : any_address(),
		  dice() % 4 ? RING(q) + USED : any_address());
}

static void attack_at_random(void)
{
	uint32_t q = (uint32_t)(dice() % queues);

	switch (dice() % 24) {
	case 0:
		restart();
		break;
	case 1:
		put(VIRTIO_MMIO_STATUS, (uint32_t)(dice() % 2 ? 0 : dice()));
		break;
	case 2:
		set_any_queue();
		break;
	case 3:
		avail(q)->idx = (uint16_t)dice();
		put(VIRTIO_MMIO_QUEUE_NOTIFY, q);
		break;
	case 4:
		avail(q)->flags = (uint16_t)dice();
		packed_ring(q)[dice() % SIZE].flags = (uint16_t)dice();
		avail(q)->ring[SIZE] = (uint16_t)dice();
		used(q)->idx = (uint16_t)dice();
		break;
	case 5:
		set_features((uint32_t)dice(), (uint32_t)dice());
		break;
	case 6:
		put(VIRTIO_MMIO_INTERRUPT_ACK, (uint32_t)dice());
		break;
	case 7:
		write32(base + VIRTIO_MMIO_CONFIG + dice() % 0x100, (uint32_t)dice());
		read64(base + dice() % 0x200);
		break;
	case 8:
		put(VIRTIO_MMIO_QUEUE_SEL, (uint32_t)dice());
		put(VIRTIO_MMIO_QUEUE_READY, (uint32_t)(dice() % 2));
		break;
	case 9:
		for (uint32_t i = 0; i < 64; i++)
			put_any_desc(desc(q), i, SIZE);
		break;
	default:
		put_any_chain(q);
		break;
	}
}

static void (*const scripts[])(void) = {
	attack_registers, attack_addresses, attack_chains,	  attack_moves,
	attack_features,  attack_resets,    attack_notifications, attack_changes,
};

void main(void)
{
	base = LAYOUT_VIRTIO + LAYOUT_VIRTIO_STEP * (uint64_t)mailbox->arg;
	id = get(VIRTIO_MMIO_DEVICE_ID);
	while (queue_exists(queues))
		queues++;
	random_state = mailbox->values[PAYLOAD_SEED] | 1;
	packed = mailbox->values[PAYLOAD_PACKED] && offers_packed();
	be_honest();
	arrived();
	if (mailbox->values[PAYLOAD_SCRIPTED]) {
		for (uint32_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
			mailbox->values[PAYLOAD_ROUNDS] = i;
			scripts[i]();
			be_honest();
		}
		return;
	}
	while (!*(volatile uint64_t *)&mailbox->values[PAYLOAD_STOP]) {
		for (uint32_t i = 0; i < 200; i++)
			attack_at_random();
		be_honest();
		mailbox->values[PAYLOAD_ROUNDS]++;
	}
}
