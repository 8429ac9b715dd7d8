/*
 * Hostile rings of a NIC, while packets come in from outside. The device is started once, with its
 * thread; each input resets it, negotiates, and is cut into chains and packets. The second of the
 * NICs has a stream of frames for its back end, in which the input's bytes come as they are, and
 * the third a tap, where there can be one, to which packets go in bursts.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "devices/net.h"
#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"
#include "tests/unit/tap.h"

#include <linux/virtio_net.h>

#define PAIRS	  2
#define STEPS_MAX 48
#define PARTS_MAX 8
#define DATA_LEN  (256u * 1024)

struct target {
	struct driver driver;
	struct net *net;
	unsigned int queues;
	int type;
	uint64_t data; /* gpa of the buffers of all chains */
};

enum { PACKETS, STREAM, TAP, TARGETS };

static struct target targets[TARGETS];
static int tap = -1, tap_outside = -1;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (tap_is_possible()) {
		tap_enter_namespace();
		tap = tap_open();
		tap_outside = tap_open_outside();
	}
	for (unsigned int i = 0; i < TARGETS; i++) {
		struct target *target = &targets[i];
		struct net_options options = {
			.name = "fuzz", .pairs = i ? 1 : PAIRS, .plain = i == STREAM};

		target->type = i == STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
		target->queues = 2 * options.pairs + 1;
		driver_init(&target->driver);
		driver_check(net_create(&target->net, &options, &target->driver.mem, NULL) == 0);
		driver_attach(&target->driver, net_device(target->net), net_loop(target->net),
			      false);
	}
	return 0;
}

static struct driver_buffer any_buffer(struct target *target, struct input *input)
{
	uint8_t kind = input_u8(input);
	bool writable = kind & 0x10;
	uint64_t at = target->data + 64u * input_u8(input);

	switch (kind & 7) {
	case 0:
		return (struct driver_buffer){at, 12, writable};
	case 1:
		return (struct driver_buffer){at, input_u8(input), writable};
	case 2:
		return (struct driver_buffer){input_u64(input), input_u32(input), writable};
	case 3: /* larger than any packet */
		return (struct driver_buffer){target->data, DATA_LEN, writable};
	case 4: { /* a command */
		uint8_t *bytes = driver_at(&target->driver, at);

		input_take(input, bytes, 10);
		bytes[0] %= 6;
		return (struct driver_buffer){at, 2 + input_u8(input) % 9u, false};
	}
	default:
		return (struct driver_buffer){at, 1536, writable};
	}
}

static void submit(struct target *target, unsigned int queue, struct input *input)
{
	struct driver_buffer buffers[PARTS_MAX];
	uint8_t shape = input_u8(input);
	unsigned int count = shape % PARTS_MAX + 1;

	for (unsigned int i = 0; i < count; i++)
		buffers[i] = any_buffer(target, input);
	if (shape & 0x80)
		driver_submit_indirect(&target->driver, queue, buffers, count);
	else
		driver_submit(&target->driver, queue, buffers, count);
}

static void kick(struct target *target, unsigned int queue)
{
	struct virtio_device *dev = net_device(target->net);

	/* As the loop would, but now. */
	pthread_mutex_lock(&dev->lock);
	if (dev->active && !dev->broken)
		dev->ops->queue_kicked(dev, queue);
	pthread_mutex_unlock(&dev->lock);
}

static void send_outside(int fd, struct input *input)
{
	static uint8_t bytes[0x10000 + 5000];
	uint8_t kind = input_u8(input);
	size_t len = kind & 0x80 ? input_u16(input) + (kind & 1) * 5000u : kind;

	input_take(input, bytes, len < 64 ? len : 64);
	if (send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return; /* full, or given up for its mistakes */
}

static void step(struct target *target, int outside, struct input *input)
{
	static uint8_t sink[0x10000 + 5000];
	uint8_t what = input_u8(input);
	unsigned int queue = (what >> 4) % target->queues;

	switch (what & 7) {
	case 0:
		send_outside(outside, input);
		break;
	case 1:
		kick(target, queue);
		break;
	case 2:
		if (recv(outside, sink, sizeof(sink), MSG_DONTWAIT) < 0)
			break;
		break;
	case 3:
		driver_offer(&target->driver, queue, input_u16(input));
		break;
	default:
		submit(target, queue, input);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t first = input_u8(&input);
	bool by_tap = (first & 9) == 8 && tap >= 0;
	struct target *target = &targets[by_tap ? TAP : first & 1];
	uint64_t features = DRIVER_FEATURES | (net_device(target->net)->features & 0xffffffff);
	int pair[2];

	if (first & 4)
		features |= 1ull << VIRTIO_F_RING_PACKED;
	if (first & 2)
		features &= ~(1ull << VIRTIO_NET_F_MRG_RXBUF);
	driver_forget(&target->driver);
	if (by_tap) {
		pair[0] = dup(tap_outside);
		pair[1] = dup(tap);
	} else {
		driver_check(socketpair(AF_UNIX, target->type | SOCK_CLOEXEC, 0, pair) == 0);
	}
	driver_check(net_attach(target->net, &pair[1], 1, NULL) == 0);
	driver_start(&target->driver, features);
	target->data = driver_alloc(&target->driver, DATA_LEN);
	for (unsigned int i = 0; i < STEPS_MAX && input.left; i++)
		step(target, pair[0], &input);
	for (unsigned int i = 0; i < target->queues; i++)
		kick(target, i);
	driver_reset(&target->driver);
	close(pair[0]);
	return 0;
}
