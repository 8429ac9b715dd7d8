/*
 * A whole device behind its registers: the first byte chooses which, and on which rings; the rest
 * is a list of accesses of every width, writes to guest memory, and turns of the loop.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/console.h"
#include "devices/mem.h"
#include "devices/rng.h"
#include "devices/vsock.h"
#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"

#define TURNS	4 /* of the loop, after a kick: a device that kicks itself goes on for ever */
#define OPS_MAX 128

/* Memory that grows: what is there, and what of it the guest may have. */
#define REGION	  0x200000000ull
#define USABLE	  (16 * MEM_BLOCK)
#define REQUESTED (4 * MEM_BLOCK)

static struct driver driver;
static struct loop loop;
static size_t output_len;
static struct guest_region *region;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	driver_init(&driver);
	driver_check(loop_init(&loop) == 0);
	driver_check(guest_memory_reserve(&driver.mem, REGION, 2 * USABLE,
					  mmap(NULL, 2 * USABLE, PROT_READ | PROT_WRITE,
					       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
					  -1) == 0);
	region = &driver.mem.regions[driver.mem.count - 1];
	return 0;
}

static void console_output(void *ctx, const void *bytes, size_t len)
{
	static volatile uint8_t sum;

	(void)ctx;
	driver_check(len > 0);
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)bytes)[i]);
	output_len += len;
}

/* Within what is usable, and whole blocks. */
static void release(void *ctx, void *bytes, size_t len)
{
	uint64_t offset = (uint64_t)((uint8_t *)bytes - region->bytes);

	(void)ctx;
	driver_check(len && len % MEM_BLOCK == 0 && offset % MEM_BLOCK == 0);
	driver_check(offset < USABLE && len <= USABLE - offset);
}

struct any_device {
	struct mem *mem;
	struct rng *rng;
	struct console *console;
	struct vsock *vsock;
};

static struct virtio_device *device_create(struct any_device *any, uint8_t kind)
{
	struct vsock_options options = {
		.guest_cid = VSOCK_GUEST_CID, .listen_fd = -1, .loop = &loop};

	memset(any, 0, sizeof(*any));
	if (kind & 0x40) {
		driver_check(mem_create(&any->mem, &driver.mem, region, release, NULL, NULL) == 0);
		driver_check(mem_request(any->mem, REQUESTED) == 0);
		return mem_device(any->mem);
	}
	if (kind % 3 == 0) {
		driver_check(rng_create(&any->rng, &driver.mem, NULL) == 0);
		return rng_device(any->rng);
	}
	if (kind % 3 == 1) {
		driver_check(console_create(&any->console, &driver.mem, console_output, NULL,
					    NULL) == 0);
		return console_device(any->console);
	}
	driver_check(vsock_create(&any->vsock, &options, &driver.mem, NULL) == 0);
	return vsock_device(any->vsock);
}

static void check_plugged(const struct any_device *any)
{
	uint64_t requested, plugged;

	if (!any->mem)
		return;
	mem_sizes(any->mem, &requested, &plugged);
	driver_check(requested == REQUESTED && plugged <= requested && plugged % MEM_BLOCK == 0);
}

static void device_destroy(struct any_device *any)
{
	mem_destroy(any->mem);
	rng_destroy(any->rng);
	console_destroy(any->console);
	vsock_destroy(any->vsock);
}

static void turn(void)
{
	driver_turn(&driver, TURNS);
}

/* Addresses inside of memory are what is mostly wanted. */
static uint64_t some_value(struct input *input, uint8_t how)
{
	if (how & 1)
		return DRIVER_MEMORY_GPA + input_u16(input);
	return how & 2 ? input_u64(input) : input_u8(input);
}

static void memory_write(struct input *input)
{
	uint32_t offset = input_u16(input);
	uint8_t bytes[64];
	size_t len = input_u8(input) % sizeof(bytes);

	memcpy(driver.bytes + offset, bytes, input_take(input, bytes, len));
}

static void submit(struct input *input)
{
	unsigned int queue = input_u8(input) % driver.mmio.dev->queue_count;
	struct driver_buffer buffers[4];
	unsigned int count = input_u8(input) % 4 + 1;

	if (!driver.queues[queue].size)
		return;
	for (unsigned int i = 0; i < count; i++) {
		uint8_t how = input_u8(input);

		buffers[i].gpa = some_value(input, how);
		buffers[i].len = input_u16(input);
		buffers[i].writable = how & 4;
	}
	driver_submit(&driver, queue, buffers, count);
}

static void step(struct input *input)
{
	static const unsigned int widths[] = {1, 2, 4, 4, 8, 4, 4, 3};
	uint8_t op = input_u8(input);
	unsigned int width = widths[op >> 5];
	uint32_t offset;

	switch (op % 8) {
	case 0:
		virtio_mmio_read(&driver.mmio, input_u16(input), width);
		break;
	case 1:
		offset = input_u16(input);
		virtio_mmio_write(&driver.mmio, offset, some_value(input, op >> 3), width);
		break;
	case 2: /* a register, by its number */
		offset = input_u8(input) * 4u;
		driver_write(&driver, offset, (uint32_t)some_value(input, op >> 3));
		break;
	case 3:
		memory_write(input);
		break;
	case 4:
		submit(input);
		break;
	case 5:
		driver_kick(&driver, input_u8(input) & 3);
		turn();
		break;
	case 6:
		/* What a driver does, so that what follows meets a running device. */
		if (driver.mmio.state.status)
			break;
		driver_forget(&driver);
		driver_start(&driver, DRIVER_FEATURES);
		break;
	default:
		turn();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct any_device any;
	uint8_t first = input_u8(&input);
	struct virtio_device *dev;

	region->len = first & 0x40 ? USABLE : 0;
	dev = device_create(&any, first);
	driver_more_features = first & 0x80 ? 1ull << VIRTIO_F_RING_PACKED : 0;
	driver_forget(&driver);
	memset(driver.queues, 0, sizeof(driver.queues));
	driver_attach(&driver, dev, &loop, true);
	output_len = 0;
	for (unsigned int i = 0; i < OPS_MAX && input.left; i++)
		step(&input);
	turn();
	driver_check(output_len <= (size_t)OPS_MAX * TURNS * 32 * 64 * 1024);
	check_plugged(&any);
	driver_reset(&driver);
	driver_check(driver_read(&driver, VIRTIO_MMIO_STATUS) == 0);
	driver_detach(&driver);
	device_destroy(&any);
	return 0;
}
