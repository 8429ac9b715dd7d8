/*
 * Hostile requests for a disk. The device is started once, with its thread and its io_uring; each
 * input resets it, sets it up, and is cut into chains. Half of the inputs go to a read-only disk,
 * which must stay as it is; half to one with direct I/O, where /tmp has that.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/blk.h"
#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"

#include <linux/virtio_blk.h>

#define DISK_LEN   (64u * 1024)
#define CHAINS_MAX 16
#define PARTS_MAX  12
#define DATA_LEN   (128u * 1024)

struct target {
	struct driver driver;
	struct blk *blk;
	int disk;
	uint64_t data; /* gpa of the buffers of all chains */
};

static struct target targets[4]; /* every second one is read-only, the last two are direct */
static uint8_t original[DISK_LEN];

static void target_init(struct target *target, bool read_only, bool direct)
{
	struct blk_options options = {.read_only = read_only, .serial = "fuzz", .name = "fuzz"};
	char itself[32];

	target->disk = direct ? open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)
			      : memfd_create("disk", MFD_CLOEXEC);
	driver_check(pwrite(target->disk, original, DISK_LEN, 0) == DISK_LEN);
	driver_init(&target->driver);
	/* Opened once more: what is compared is read by the page cache. */
	snprintf(itself, sizeof(itself), "/proc/self/fd/%d", target->disk);
	options.fd = open(itself, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));
	options.direct = direct && options.fd >= 0;
	if (options.fd < 0)
		options.fd = dup(target->disk);
	driver_check(blk_create(&target->blk, &options, &target->driver.mem, NULL) == 0);
	driver_attach(&target->driver, blk_device(target->blk), blk_loop(target->blk), false);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	for (size_t i = 0; i < DISK_LEN; i++)
		original[i] = (uint8_t)(i / 512 + i);
	for (unsigned int i = 0; i < 4; i++)
		target_init(&targets[i], i & 1, i & 2);
	return 0;
}

static struct driver_buffer header_buffer(struct target *target, struct input *input)
{
	struct virtio_blk_outhdr header = {
		.type = input_u8(input) % 16,
		.sector = input_u8(input),
	};
	uint64_t gpa = driver_alloc(&target->driver, sizeof(header));

	if (header.sector == 255)
		header.sector = input_u64(input);
	memcpy(driver_at(&target->driver, gpa), &header, sizeof(header));
	return (struct driver_buffer){gpa, sizeof(header), false};
}

static struct driver_buffer range_buffer(struct target *target, struct input *input)
{
	struct virtio_blk_discard_write_zeroes range = {
		.sector = input_u8(input),
		.num_sectors = input_u8(input),
		.flags = input_u8(input) & 3,
	};
	uint64_t gpa = driver_alloc(&target->driver, sizeof(range));

	if (range.num_sectors == 255)
		range.num_sectors = input_u32(input);
	memcpy(driver_at(&target->driver, gpa), &range, sizeof(range));
	return (struct driver_buffer){gpa, sizeof(range), false};
}

static struct driver_buffer any_buffer(struct target *target, struct input *input)
{
	uint8_t kind = input_u8(input);
	bool writable = kind & 0x10;

	switch (kind & 7) {
	case 0:
		return header_buffer(target, input);
	case 1:
		return range_buffer(target, input);
	case 2:
		return (struct driver_buffer){target->data + input_u8(input), 1, writable};
	case 3:
		return (struct driver_buffer){target->data + input_u16(input), input_u16(input),
					      writable};
	case 4: /* anything */
		return (struct driver_buffer){input_u64(input), input_u32(input), writable};
	case 5: /* larger than the disk */
		return (struct driver_buffer){target->data, DATA_LEN, writable};
	default:
		return (struct driver_buffer){target->data + 512u * (input_u8(input) % 128),
					      512u * (1 + input_u8(input) % 32), writable};
	}
}

static void submit_chain(struct target *target, struct input *input)
{
	struct driver_buffer buffers[PARTS_MAX];
	uint8_t shape = input_u8(input);
	unsigned int count = shape % PARTS_MAX + 1;

	for (unsigned int i = 0; i < count; i++)
		buffers[i] = any_buffer(target, input);
	if (shape & 0x80)
		driver_submit_indirect(&target->driver, 0, buffers, count);
	else
		driver_submit(&target->driver, 0, buffers, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t first = input_u8(&input);
	struct target *target = &targets[(first & 1) + (first & 4 ? 2 : 0)];
	struct virtio_device *dev = blk_device(target->blk);
	static uint8_t now[DISK_LEN + 1];

	driver_more_features = first & 2 ? 1ull << VIRTIO_F_RING_PACKED : 0;
	driver_forget(&target->driver);
	driver_start(&target->driver, DRIVER_FEATURES);
	target->data = driver_alloc(&target->driver, DATA_LEN);
	for (unsigned int i = 0; i < CHAINS_MAX && input.left; i++)
		submit_chain(target, &input);
	/* As the loop would, but now. */
	pthread_mutex_lock(&dev->lock);
	dev->ops->queue_kicked(dev, 0);
	pthread_mutex_unlock(&dev->lock);
	driver_check(driver_more_features || target->driver.queues[0].used->idx <= CHAINS_MAX);
	/* Waits for what is in flight. */
	driver_reset(&target->driver);
	driver_check(lseek(target->disk, 0, SEEK_END) == DISK_LEN);
	if (first & 1) {
		driver_check(pread(target->disk, now, sizeof(now), 0) == DISK_LEN);
		driver_check(memcmp(now, original, DISK_LEN) == 0);
	}
	return 0;
}
