/* A disk in a real slot, driven by guest code through its registers and rings. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/blk.h"
#include "tests/payload/payload.h"
#include "tests/payload/suites.h"
#include "vmm/slot.h"

PAYLOAD_IMAGE(blk);

#define SECTOR	  512
#define DISK_LEN  (PAYLOAD_DISK_SECTORS * SECTOR)
#define WRITTEN	  (PAYLOAD_WRITE_SECTOR * SECTOR)
#define SERIAL	  "payload0"
#define IRQ_MODES 2

struct disk {
	struct payload payload;
	struct blk *blk;
	struct slot slot;
	uint8_t *bytes; /* of the file */
};

static int create_file(struct disk *disk)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, DISK_LEN), 0);
	disk->bytes = mmap(NULL, DISK_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(disk->bytes, MAP_FAILED);
	for (uint64_t i = 0; i < DISK_LEN; i++)
		disk->bytes[i] = payload_disk_byte(i);
	return fd;
}

/* By interrupt it has to be kernel mode: user mode cannot sleep. */
static void disk_init(struct disk *disk, enum payload_blk_case arg, bool use_irq)
{
	struct blk_options options = {.serial = SERIAL, .name = "disk0"};
	struct payload *payload = &disk->payload;
	const struct slot_host host = {.kvm = &payload->kvm, .bus = &payload->mmio};
	struct error err = {0};
	int ret;

	payload_init(payload, &blk_image, use_irq ? PAYLOAD_KERNEL : PAYLOAD_USER);
	payload->mailbox->arg = arg;
	payload->mailbox->use_irq = use_irq;
	options.fd = create_file(disk);
	ret = blk_create(&disk->blk, &options, &payload->memory.map, &err);
	if (ret == 0)
		ret = slot_init(&disk->slot, 0, &host, blk_device(disk->blk), blk_loop(disk->blk),
				&err);
	ck_assert_msg(ret == 0, "%s", err.message);
}

static void disk_destroy(struct disk *disk)
{
	payload_stop(&disk->payload);
	slot_destroy(&disk->slot);
	blk_destroy(disk->blk);
	munmap(disk->bytes, DISK_LEN);
	payload_destroy(&disk->payload);
}

/* Both directions, to the byte; and nothing beside. */
static void check_bytes(struct disk *disk)
{
	const uint8_t *read = payload_at(&disk->payload, PAYLOAD_READ_TO);

	for (uint64_t i = 0; i < DISK_LEN; i++) {
		bool written = i >= WRITTEN && i < WRITTEN + PAYLOAD_WRITE_LEN;

		ck_assert_uint_eq(disk->bytes[i], written ? payload_written_byte(i - WRITTEN)
							  : payload_disk_byte(i));
	}
	for (uint64_t i = 0; i < PAYLOAD_READ_LEN; i++)
		ck_assert_uint_eq(read[i], payload_disk_byte(PAYLOAD_READ_SECTOR * SECTOR + i));
	ck_assert_uint_eq(read[PAYLOAD_READ_LEN], 0);
	ck_assert_mem_eq(&disk->payload.mailbox->values[0], SERIAL, 8);
}

START_TEST(a_guest_reads_and_writes_its_disk)
{
	struct disk disk;

	disk_init(&disk, BLK_CASE_IO, _i);
	payload_run(&disk.payload);
	check_bytes(&disk);
	disk_destroy(&disk);
}
END_TEST

/* The payload itself checks for DEVICE_NEEDS_RESET, and goes on with honest work after a reset. */
START_TEST(a_dishonest_guest_breaks_its_own_device_only)
{
	struct disk disk;

	disk_init(&disk, (enum payload_blk_case)(_i / IRQ_MODES), _i % IRQ_MODES);
	payload_run(&disk.payload);
	check_bytes(&disk);
	disk_destroy(&disk);
}
END_TEST

/* The guest is stopped anywhere, the I/O thread may be at work: all of it has to end. */
START_TEST(a_busy_disk_can_be_taken_away)
{
	for (int i = 0; i < 20; i++) {
		struct disk disk;

		disk_init(&disk, BLK_CASE_IO, false);
		payload_start(&disk.payload);
		for (volatile int delay = 0; delay < i * 10000; delay++)
			;
		disk_destroy(&disk);
	}
}
END_TEST

Suite *blk_suite(void)
{
	Suite *suite = suite_create("disk");
	TCase *tcase = tcase_create("disk");

	tcase_set_timeout(tcase, PAYLOAD_TIMEOUT_S);
	tcase_add_loop_test(tcase, a_guest_reads_and_writes_its_disk, 0, IRQ_MODES);
	tcase_add_loop_test(tcase, a_dishonest_guest_breaks_its_own_device_only,
			    IRQ_MODES * (BLK_CASE_IO + 1), IRQ_MODES * BLK_CASES);
	tcase_add_test(tcase, a_busy_disk_can_be_taken_away);
	suite_add_tcase(suite, tcase);
	return suite;
}
