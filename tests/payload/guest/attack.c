/*
 * A driver that attacks. It knows how each device is used (virtio 1.2, section 5) and does all
 * else: the scripted attacks one after the other, or at random until the test says stop. Whatever
 * it did, after a reset the device has to serve it honestly.
 *
 * Addresses that it gives to a device are in the data area or outside of memory: a guest that has
 * its own code overwritten would only fail to attack.
 */
#include "tests/payload/guest/virtio.h"

#include <linux/fuse.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mem.h>
#include <linux/virtio_net.h>
#include <linux/virtio_vsock.h>

#define SIZE	 128 /* entries of a ring */
#define AREA	 PAYLOAD_DATA
#define AREA_END (PAYLOAD_MEMORY - 0x1000)
#define RING(q)	 (AREA + 0x20000 * (uint64_t)(q))
#define AVAIL	 0x8000
#define USED	 0x10000
#define DRAFTS	 0x18000 /* what a packed ring's chains are copied from */
#define BUFFERS	 (AREA + 0x100000)
#define TABLE	 (AREA + 0x400000) /* an indirect one, 65536 entries */

/* The device under attack. */
static uint64_t base;
static uint32_t id, queues;
static uint64_t random_state;
static bool packed;
static uint32_t next_slot[8]; /* of each packed ring, not cut to its size */
static uint32_t sizes[8];

static uint32_t get(uint32_t reg)
{
	return read32(base + reg);
}

static void put(uint32_t reg, uint32_t value)
{
	write32(base + reg, value);
}

static uint64_t dice(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static volatile struct vring_desc *desc(uint32_t q)
{
	return (volatile struct vring_desc *)(RING(q) + (packed ? DRAFTS : 0));
}

static volatile struct vring_packed_desc *packed_ring(uint32_t q)
{
	return (volatile struct vring_packed_desc *)RING(q);
}

static volatile struct vring_avail *avail(uint32_t q)
{
	return (volatile struct vring_avail *)(RING(q) + AVAIL);
}

static volatile struct vring_used *used(uint32_t q)
{
	return (volatile struct vring_used *)(RING(q) + USED);
}

static void set_desc(uint32_t q, uint32_t i, uint64_t addr, uint32_t len, uint32_t flags,
		     uint32_t next)
{
	desc(q)[i].addr = addr;
	desc(q)[i].len = len;
	desc(q)[i].flags = (uint16_t)flags;
	desc(q)[i].next = (uint16_t)next;
}

/* --- the honest driver --- */

static void clear_rings(void)
{
	for (uint32_t q = 0; q < queues; q++)
		for (uint64_t at = RING(q); at < RING(q) + DRAFTS + 0x1000; at += 8)
			*(volatile uint64_t *)at = 0;
}

static void set_queue(uint32_t q, uint32_t size, uint64_t table, uint64_t driver, uint64_t device)
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

static void set_features(uint32_t low, uint32_t high)
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

static uint32_t ring_size(uint32_t q)
{
	uint32_t max;

	put(VIRTIO_MMIO_QUEUE_SEL, q);
	max = get(VIRTIO_MMIO_QUEUE_NUM_MAX);
	return max < SIZE ? max : SIZE;
}

static bool queue_exists(uint32_t q)
{
	put(VIRTIO_MMIO_QUEUE_SEL, q);
	return get(VIRTIO_MMIO_QUEUE_NUM_MAX) > 0;
}

/* virtiofsd does not, and so neither its device. */
static bool offers_packed(void)
{
	put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	return get(VIRTIO_MMIO_DEVICE_FEATURES) & 1u << (VIRTIO_F_RING_PACKED - 32);
}

static void start(void)
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

static void offer(uint32_t q, uint32_t head)
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

/* Entry n since the start, where every chain of a packed ring before it had one descriptor. */
static struct vring_used_elem wait_used(uint32_t q, uint16_t n)
{
	uint32_t at = n % sizes[q];

	while (!is_used(q, n))
		guest_check(!(get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET));
	barrier();
	if (packed)
		return (struct vring_used_elem){packed_ring(q)[at].id, packed_ring(q)[at].len};
	return (struct vring_used_elem){used(q)->ring[at].id, used(q)->ring[at].len};
}

static void be_honest_blk(void)
{
	volatile struct virtio_blk_outhdr *header = (volatile struct virtio_blk_outhdr *)BUFFERS;
	volatile uint8_t *bytes = (volatile uint8_t *)(BUFFERS + 0x1000);

	header->type = VIRTIO_BLK_T_IN;
	header->sector = 8;
	bytes[512] = 0xee;
	set_desc(0, 0, BUFFERS, 16, VRING_DESC_F_NEXT, 1);
	set_desc(0, 1, BUFFERS + 0x1000, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
	set_desc(0, 2, BUFFERS + 0x1000 + 512, 1, VRING_DESC_F_WRITE, 0);
	offer(0, 0);
	wait_used(0, 0);
	guest_check(bytes[512] == VIRTIO_BLK_S_OK);
}

static void be_honest_rng(void)
{
	uint32_t len;

	set_desc(0, 0, BUFFERS, 64, VRING_DESC_F_WRITE, 0);
	offer(0, 0);
	len = wait_used(0, 0).len;
	guest_check(len > 0 && len <= 64);
}

static void be_honest_console(void)
{
	volatile char *text = (volatile char *)BUFFERS;
	static const char alive[] = PAYLOAD_ALIVE;

	for (uint32_t i = 0; i < sizeof(alive); i++)
		text[i] = alive[i];
	set_desc(1, 0, BUFFERS, sizeof(alive) - 1, 0, 0);
	offer(1, 0);
	wait_used(1, 0);
}

static void put_vsock_header(uint64_t at, uint32_t port, uint32_t op, uint32_t len)
{
	volatile struct virtio_vsock_hdr *header = (volatile struct virtio_vsock_hdr *)at;

	header->src_cid = PAYLOAD_CID;
	header->dst_cid = 2;
	header->src_port = port;
	header->dst_port = PAYLOAD_VSOCK_PORT;
	header->len = len;
	header->type = VIRTIO_VSOCK_TYPE_STREAM;
	header->op = (uint16_t)op;
	header->flags = 0;
	header->buf_alloc = 0x10000;
	header->fwd_cnt = 0;
}

/* A connection from a port of its own. Answers to older ones may come before. */
static void be_honest_vsock(void)
{
	const uint32_t port = 0x40000000;
	volatile struct virtio_vsock_hdr *answer;
	uint16_t seen = 0;

	for (uint32_t i = 0; i < 64; i++) {
		set_desc(0, i, BUFFERS + 0x1000 * (i + 1), 0x1000, VRING_DESC_F_WRITE, 0);
		offer(0, i);
	}
	put_vsock_header(BUFFERS, port, VIRTIO_VSOCK_OP_REQUEST, 0);
	set_desc(1, 0, BUFFERS, sizeof(*answer), 0, 0);
	offer(1, 0);
	do {
		uint64_t buffer = wait_used(0, seen++).id + 1;

		answer = (volatile struct virtio_vsock_hdr *)(BUFFERS + 0x1000 * buffer);
	} while (answer->dst_port != port);
	guest_check(answer->op == VIRTIO_VSOCK_OP_RESPONSE);
}

/* Whatever the driver has to say: the device takes it. */
static void be_honest_balloon(void)
{
	for (uint32_t q = 0; q < queues; q++) {
		set_desc(q, 0, BUFFERS + 0x1000, 0x1000, VRING_DESC_F_WRITE, 0);
		offer(q, 0);
		wait_used(q, 0);
	}
}

/*
 * A frame with a number of its own. Without more queues than 3 it comes back; frames of the attack
 * may come before.
 */
static void be_honest_net(void)
{
	static uint64_t number = 0xbeef0000;
	volatile uint64_t *frame =
		(volatile uint64_t *)(BUFFERS + sizeof(struct virtio_net_hdr_v1));
	bool comes_back = queues == 3, is_back = false;

	for (uint32_t i = 0; i < 64; i++) {
		set_desc(0, i, BUFFERS + 0x1000 * (i + 1), 0x1000, VRING_DESC_F_WRITE, 0);
		offer(0, i);
	}
	for (uint64_t at = BUFFERS; at < BUFFERS + 0x1000; at += 8)
		*(volatile uint64_t *)at = 0;
	frame[0] = frame[1] = UINT64_MAX; /* to everybody, from a bad address */
	frame[2] = ++number;
	set_desc(1, 0, BUFFERS, sizeof(struct virtio_net_hdr_v1) + 60, 0, 0);
	offer(1, 0);
	for (uint16_t seen = 0; comes_back && !is_back; seen++) {
		uint32_t head = wait_used(0, seen).id;

		frame = (volatile uint64_t *)(BUFFERS + 0x1000 * (uint64_t)(head + 1) +
					      sizeof(struct virtio_net_hdr_v1));
		is_back = frame[2] == number;
		frame[2] = 0;
		offer(0, head);
	}
	wait_used(1, 0);
}

/* An answer, which may be that nobody is there any more. */
static void be_honest_fs(void)
{
	volatile struct fuse_in_header *in = (volatile struct fuse_in_header *)BUFFERS;
	volatile struct fuse_init_in *init = (volatile struct fuse_init_in *)(in + 1);
	volatile struct fuse_out_header *out =
		(volatile struct fuse_out_header *)(BUFFERS + 0x1000);

	for (uint64_t at = BUFFERS; at < BUFFERS + 0x2000; at += 8)
		*(volatile uint64_t *)at = 0;
	in->len = sizeof(*in) + sizeof(*init);
	in->opcode = FUSE_INIT;
	in->unique = 77;
	init->major = FUSE_KERNEL_VERSION;
	init->minor = 31;
	set_desc(1, 0, BUFFERS, in->len, VRING_DESC_F_NEXT, 1);
	set_desc(1, 1, BUFFERS + 0x1000, sizeof(*out) + sizeof(struct fuse_init_out),
		 VRING_DESC_F_WRITE, 0);
	offer(1, 0);
	wait_used(1, 0);
	guest_check(out->unique == 77);
}

static uint32_t ask_mem(uint16_t type, uint64_t addr, uint16_t count)
{
	volatile struct virtio_mem_req *req = (volatile struct virtio_mem_req *)BUFFERS;
	volatile struct virtio_mem_resp *resp =
		(volatile struct virtio_mem_resp *)(BUFFERS + 0x1000);
	static uint16_t asked;

	/* The first of each round; in a packed ring a chain takes up as many places as it has. */
	asked = type == VIRTIO_MEM_REQ_UNPLUG_ALL ? 0 : (uint16_t)(asked + (packed ? 2 : 1));
	req->type = type;
	req->u.plug.addr = addr;
	req->u.plug.nb_blocks = count;
	resp->type = 0xffff;
	set_desc(0, 0, BUFFERS, sizeof(*req), VRING_DESC_F_NEXT, 1);
	set_desc(0, 1, BUFFERS + 0x1000, sizeof(*resp), VRING_DESC_F_WRITE, 0);
	offer(0, 0);
	wait_used(0, asked);
	return resp->type;
}

/* More than is wanted is not to be had, whatever the attack has plugged. */
static void be_honest_mem(void)
{
	uint32_t config = VIRTIO_MMIO_CONFIG + offsetof(struct virtio_mem_config, addr);
	uint64_t addr = get(config) | (uint64_t)get(config + 4) << 32;

	guest_check(ask_mem(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0) == VIRTIO_MEM_RESP_ACK);
	guest_check(ask_mem(VIRTIO_MEM_REQ_PLUG, addr, 9) == VIRTIO_MEM_RESP_NACK);
	guest_check(ask_mem(VIRTIO_MEM_REQ_PLUG, addr, 8) == VIRTIO_MEM_RESP_ACK);
	guest_check(ask_mem(VIRTIO_MEM_REQ_UNPLUG, addr, 1) == VIRTIO_MEM_RESP_ACK);
}

static void be_honest(void)
{
	start();
	switch (id) {
	case VIRTIO_ID_BALLOON:
		be_honest_balloon();
		break;
	case VIRTIO_ID_MEM:
		be_honest_mem();
		break;
	case VIRTIO_ID_NET:
		be_honest_net();
		break;
	case VIRTIO_ID_FS:
		be_honest_fs();
		break;
	case VIRTIO_ID_BLOCK:
		be_honest_blk();
		break;
	case VIRTIO_ID_RNG:
		be_honest_rng();
		break;
	case VIRTIO_ID_CONSOLE:
		be_honest_console();
		break;
	default:
		be_honest_vsock();
		break;
	}
	put(VIRTIO_MMIO_STATUS, 0);
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

static uint32_t any_length(void)
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

static void put_fuse_request(uint64_t at)
{
	volatile struct fuse_in_header *in = (volatile struct fuse_in_header *)at;
	volatile uint64_t *body = (volatile uint64_t *)(in + 1);

	in->len = dice() % 4 ? 40 + (uint32_t)(dice() % 0x100) : any_length();
	in->opcode = (uint32_t)(dice() % 54);
	in->unique = dice();
	in->nodeid = dice() % 4 ? dice() % 3 : dice();
	for (uint32_t i = 0; i < 8; i++)
		body[i] = dice() % 2 ? dice() : 0;
}

/* Something that the device would take for a request, at the address. */
static void put_message(uint64_t at)
{
	volatile uint32_t *words = (volatile uint32_t *)(at & ~7ull);

	if (id == VIRTIO_ID_VSOCK) {
		put_vsock_header(at & ~7ull, (uint32_t)(dice() % 64), (uint32_t)(dice() % 9),
				 any_length());
		if (dice() % 4 == 0)
			words[dice() % 11] = (uint32_t)dice();
		return;
	}
	if (id == VIRTIO_ID_FS) {
		put_fuse_request(at & ~7ull);
		return;
	}
	/* A request of a disk, a frame's header, a command to a NIC. */
	words[0] = (uint32_t)(dice() % 16);
	words[1] = id == VIRTIO_ID_NET ? (uint32_t)dice() : 0;
	words[2] = (uint32_t)(dice() % 128);
	words[3] = dice() % 8 ? 0 : (uint32_t)dice();
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
		start();
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
	start();
	for (uint32_t q = 0; q < queues; q++) {
		set_desc(q, 0, BUFFERS, 16, VRING_DESC_F_NEXT, 0);
		offer(q, 0);
	}
	start();
	for (uint32_t q = 0; q < queues; q++) {
		for (uint32_t i = 0; i < SIZE; i++)
			set_desc(q, i, BUFFERS, 16, VRING_DESC_F_NEXT, (i + 1) % SIZE);
		offer(q, 5);
	}
	/* 65,536 long, and tables in tables. */
	for (uint32_t flags = 0; flags < 8; flags++) {
		start();
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
		start();
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
		start();
		for (uint32_t i = 0; i < round % 8; i++)
			put_any_chain((uint32_t)(dice() % queues));
		put(VIRTIO_MMIO_STATUS, 0);
		put(VIRTIO_MMIO_STATUS, 0);
	}
}

static void attack_notifications(void)
{
	start();
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

		start();
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
		start();
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
