/* What each device is asked, in honesty and as a part of an attack (virtio 1.2, section 5). */
#include "tests/payload/guest/attack/attack.h"

#include <linux/fuse.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_mem.h>
#include <linux/virtio_net.h>
#include <linux/virtio_vsock.h>

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

void be_honest(void)
{
	restart();
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

void put_message(uint64_t at)
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
