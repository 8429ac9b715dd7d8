#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "devices/blk_internal.h"
#include "devices/blk_request.h"
#include "tests/unit/driver.h"
#include "tests/unit/suites.h"

#include <linux/virtio_blk.h>

#define SECTOR	512
#define SECTORS 32768u /* 16 MiB */
#define PIECE	4096

static struct driver driver;
static struct blk *blk;
static int disk;
static uint32_t used_len; /* of the last request */

static void fill(uint8_t *bytes, size_t len, uint8_t seed)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(seed + i * 7 + i / 256);
}

/* Its path, for another open file of it. */
static const char *itself(int fd)
{
	static char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

/* A file that has direct I/O, where the host has one: not every file system does. */
static int open_direct_file(void)
{
	static const char *const folders[] = {"/tmp", "/var/tmp", "."};

	for (unsigned int i = 0; i < 3; i++) {
		int fd = open(folders[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		int direct = fd < 0 ? -1 : open(itself(fd), O_RDWR | O_DIRECT | O_CLOEXEC);

		if (direct >= 0) {
			close(direct);
			return fd;
		}
		if (fd >= 0)
			close(fd);
	}
	return -1;
}

/* Takes file over. */
static void setup_disk(int file, bool read_only, unsigned int queues)
{
	struct blk_options options = {.queues = queues,
				      .read_only = read_only,
				      .serial = "serial-0123456789abcdef",
				      .name = "blk"};

	driver_init(&driver);
	disk = file;
	/* The odd rest is no sector. */
	ck_assert_int_eq(ftruncate(disk, SECTORS * SECTOR + 100), 0);
	options.fd = dup(disk);
	ck_assert_int_eq(blk_create(&blk, &options, &driver.mem, NULL), 0);
	driver_attach(&driver, blk_device(blk), blk_loop(blk), false);
	driver_start(&driver, DRIVER_FEATURES | (blk_device(blk)->features & 0xffff));
}

static void setup(void)
{
	setup_disk(driver_disk(), false, 1);
}

static bool can_have_uring(void)
{
	struct statfs file_system;
	struct io_uring ring;

	if (fstatfs(disk, &file_system) < 0 || file_system.f_type == TMPFS_MAGIC ||
	    io_uring_queue_init(1, &ring, 0) < 0)
		return false;
	io_uring_queue_exit(&ring);
	return true;
}

static void setup_uring(void)
{
	setup();
	ck_assert(blk->uring == can_have_uring());
}

static void setup_memory(void)
{
	setup_disk(memfd_create("disk", MFD_CLOEXEC), false, 1);
	ck_assert(!blk->uring);
}

static void setup_queues(void)
{
	setup_disk(driver_disk(), false, 4);
}

/* As on a host that forbids io_uring. */
static void setup_plain(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = 4, .filter = filter};

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
	setup();
}

/* Of all the requests of the other cases; their buffers lie anywhere. disk stays cached. */
static void setup_direct(void)
{
	struct blk_options options = {
		.direct = true, .serial = "serial-0123456789abcdef", .name = "blk"};

	driver_init(&driver);
	disk = open_direct_file();
	ck_assert_int_ge(disk, 0);
	ck_assert_int_eq(ftruncate(disk, SECTORS * SECTOR + 100), 0);
	options.fd = open(itself(disk), O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(blk_create(&blk, &options, &driver.mem, NULL), 0);
	driver_attach(&driver, blk_device(blk), blk_loop(blk), false);
	driver_start(&driver, DRIVER_FEATURES | (blk_device(blk)->features & 0xffff));
}

static void setup_read_only(void)
{
	setup_disk(driver_disk(), true, 1);
}

static void teardown(void)
{
	driver_detach(&driver);
	blk_destroy(blk);
	driver_destroy(&driver);
	close(disk);
}

static uint64_t header(uint32_t type, uint64_t sector)
{
	uint64_t gpa = driver_alloc(&driver, 16);
	struct virtio_blk_outhdr *hdr = driver_at(&driver, gpa);

	hdr->type = type;
	hdr->sector = sector;
	return gpa;
}

/* A request in three buffers. Returns its status. */
static uint8_t run(uint32_t type, uint64_t sector, uint64_t data, uint32_t len, bool writable)
{
	uint64_t status = driver_alloc(&driver, 1);
	struct driver_buffer buffers[3] = {
		{header(type, sector), 16, false}, {data, len, writable}, {status, 1, true}};

	*(uint8_t *)driver_at(&driver, status) = 0xee;
	used_len = driver_run(&driver, 0, driver_submit(&driver, 0, buffers, 3));
	return *(uint8_t *)driver_at(&driver, status);
}

static void disk_fill(uint64_t sector, uint8_t seed)
{
	uint8_t bytes[PIECE];

	fill(bytes, sizeof(bytes), seed);
	ck_assert_int_eq(pwrite(disk, bytes, PIECE, (off_t)sector * SECTOR), PIECE);
}

static void disk_is(uint64_t sector, const void *expected)
{
	uint8_t bytes[PIECE];

	ck_assert_int_eq(pread(disk, bytes, PIECE, (off_t)sector * SECTOR), PIECE);
	ck_assert_mem_eq(bytes, expected, PIECE);
}

START_TEST(config_describes_the_disk)
{
	uint64_t features = blk_device(blk)->features;

	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, 0x100, 8), SECTORS);
	ck_assert_uint_eq(driver_read(&driver, 0x100 + 12), 126); /* seg_max */
	ck_assert_uint_eq(driver_read(&driver, 0x100 + 20), SECTOR);
	ck_assert(features & 1ull << VIRTIO_BLK_F_FLUSH);
	ck_assert(features & 1ull << VIRTIO_BLK_F_DISCARD);
	ck_assert(!(features & 1ull << VIRTIO_BLK_F_RO));
}
END_TEST

START_TEST(reads_what_is_on_the_disk)
{
	uint8_t expected[PIECE];
	uint64_t data = driver_alloc(&driver, PIECE);

	fill(expected, PIECE, 3);
	disk_fill(40, 3);
	ck_assert_uint_eq(run(VIRTIO_BLK_T_IN, 40, data, PIECE, true), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(used_len, PIECE + 1);
	ck_assert_mem_eq(driver_at(&driver, data), expected, PIECE);
	ck_assert_uint_eq(run(VIRTIO_BLK_T_IN, SECTORS - 1, data, SECTOR, true), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(run(VIRTIO_BLK_T_IN, 0, data, 0, true), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(used_len, 1);
}
END_TEST

START_TEST(writes_what_it_is_given)
{
	uint64_t data = driver_alloc(&driver, PIECE);

	fill(driver_at(&driver, data), PIECE, 9);
	ck_assert_uint_eq(run(VIRTIO_BLK_T_OUT, 80, data, PIECE, false), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(used_len, 1);
	disk_is(80, driver_at(&driver, data));
	ck_assert_uint_eq(run(VIRTIO_BLK_T_FLUSH, 0, 0, 0, false), VIRTIO_BLK_S_OK);
}
END_TEST

/* 2.7.4.1: header, data and status may be cut anywhere; here through an indirect table. */
START_TEST(buffers_may_be_cut_anywhere)
{
	uint64_t hdr = header(VIRTIO_BLK_T_IN, 8), data = driver_alloc(&driver, PIECE + 1);
	struct driver_buffer buffers[] = {{hdr, 3, false},
					  {hdr + 3, 13, false},
					  {data, 100, true},
					  {data + 100, 1, true},
					  {data + 101, PIECE - 101 + 1, true}};
	uint8_t expected[PIECE];
	uint16_t head;

	fill(expected, PIECE, 5);
	disk_fill(8, 5);
	/* Before: the device may look at the queue by itself. */
	memset(driver_at(&driver, data), 0xee, PIECE + 1);
	head = _i ? driver_submit_indirect(&driver, 0, buffers, 5)
		  : driver_submit(&driver, 0, buffers, 5);
	ck_assert_uint_eq(driver_run(&driver, 0, head), PIECE + 1);
	ck_assert_mem_eq(driver_at(&driver, data), expected, PIECE);
	ck_assert_uint_eq(*(uint8_t *)driver_at(&driver, data + PIECE), VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(requests_beyond_the_disk_fail)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
	} rows[] = {
		{SECTORS, SECTOR},    {SECTORS - 1, 2 * SECTOR}, {1ull << 55, SECTOR},
		{UINT64_MAX, SECTOR}, {0, SECTOR - 1},		 {0, SECTOR + 1},
		{SECTORS + 1, 0},
	};
	uint64_t data = driver_alloc(&driver, 2 * SECTOR);
	uint8_t zeroes[PIECE] = {0};

	memset(driver_at(&driver, data), 0xab, 2 * SECTOR);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_uint_eq(run(VIRTIO_BLK_T_IN, rows[i].sector, data, rows[i].len, true),
				  VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(used_len, 1);
		ck_assert_uint_eq(*(uint8_t *)driver_at(&driver, data), 0xab);
		ck_assert_uint_eq(run(VIRTIO_BLK_T_OUT, rows[i].sector, data, rows[i].len, false),
				  VIRTIO_BLK_S_IOERR);
	}
	disk_is(0, zeroes);
	ck_assert_int_eq(lseek(disk, 0, SEEK_END), SECTORS * SECTOR + 100);
}
END_TEST

static uint8_t run_range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	uint64_t gpa = driver_alloc(&driver, sizeof(struct virtio_blk_discard_write_zeroes));
	struct virtio_blk_discard_write_zeroes *range = driver_at(&driver, gpa);

	range->sector = sector;
	range->num_sectors = sectors;
	range->flags = flags;
	return run(type, 0, gpa, sizeof(*range), false);
}

START_TEST(ranges_become_zeroes)
{
	static const struct {
		uint32_t type, flags;
	} rows[] = {
		{VIRTIO_BLK_T_DISCARD, 0},
		{VIRTIO_BLK_T_WRITE_ZEROES, 0},
		{VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP},
	};
	uint8_t zeroes[PIECE] = {0}, kept[PIECE];

	fill(kept, PIECE, 1);
	disk_fill(0, 1);
	disk_fill(8, 1);
	disk_fill(16, 1);
	ck_assert_uint_eq(run_range(rows[_i].type, 8, 8, rows[_i].flags), VIRTIO_BLK_S_OK);
	disk_is(0, kept);
	disk_is(8, zeroes);
	disk_is(16, kept);
}
END_TEST

START_TEST(bad_ranges_are_refused)
{
	const uint32_t discard = VIRTIO_BLK_T_DISCARD, zero = VIRTIO_BLK_T_WRITE_ZEROES;
	uint8_t kept[PIECE];

	fill(kept, PIECE, 1);
	disk_fill(0, 1);
	disk_fill(SECTORS - 8, 1);
	ck_assert_uint_eq(run_range(discard, 0, 8, 1), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(run_range(zero, 0, 8, 2), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(run_range(zero, 0, 32769, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(run_range(discard, SECTORS - 8, 9, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(run_range(discard, UINT64_MAX, 9, 0), VIRTIO_BLK_S_IOERR);
	/* Two ranges, and half of one. */
	ck_assert_uint_eq(run(discard, 0, driver_alloc(&driver, 32), 32, false),
			  VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(run(discard, 0, driver_alloc(&driver, 8), 8, false), VIRTIO_BLK_S_IOERR);
	disk_is(0, kept);
	disk_is(SECTORS - 8, kept);
}
END_TEST

START_TEST(tells_its_serial)
{
	uint64_t data = driver_alloc(&driver, 32);

	ck_assert_uint_eq(run(VIRTIO_BLK_T_GET_ID, 0, data, 20, true), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(driver_at(&driver, data), "serial-0123456789abc", 20);
	ck_assert_uint_eq(used_len, 21);
	data = driver_alloc(&driver, 32);
	ck_assert_uint_eq(run(VIRTIO_BLK_T_GET_ID, 0, data, 3, true), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(driver_at(&driver, data), "ser\0", 4);
}
END_TEST

START_TEST(odd_requests_are_answered)
{
	uint64_t status = driver_alloc(&driver, 1);
	struct driver_buffer cut[2] = {{header(0, 0), 15, false}, {status, 1, true}};

	ck_assert_uint_eq(run(77, 0, 0, 0, false), VIRTIO_BLK_S_UNSUPP);
	*(uint8_t *)driver_at(&driver, status) = 0xee;
	driver_run(&driver, 0, driver_submit(&driver, 0, cut, 2));
	ck_assert_uint_eq(*(uint8_t *)driver_at(&driver, status), VIRTIO_BLK_S_IOERR);
	*(uint8_t *)driver_at(&driver, status) = 0xee;
	driver_run(&driver, 0, driver_submit(&driver, 0, &cut[1], 1));
	ck_assert_uint_eq(*(uint8_t *)driver_at(&driver, status), VIRTIO_BLK_S_IOERR);
}
END_TEST

static bool needs_reset(void *ctx)
{
	(void)ctx;
	return driver_read(&driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

START_TEST(without_a_status_byte_it_asks_for_a_reset)
{
	struct driver_buffer buffer = {header(VIRTIO_BLK_T_FLUSH, 0), 16, false};

	driver_submit(&driver, 0, &buffer, 1);
	driver_kick(&driver, 0);
	driver_until(&driver, needs_reset, NULL);
	driver_reset(&driver);
	driver_start(&driver, DRIVER_FEATURES);
	ck_assert_uint_eq(run(VIRTIO_BLK_T_FLUSH, 0, 0, 0, false), VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(a_truncated_file_is_an_error)
{
	uint64_t data = driver_alloc(&driver, PIECE);

	ck_assert_int_eq(ftruncate(disk, 1024), 0);
	ck_assert_uint_eq(run(VIRTIO_BLK_T_IN, 0, data, PIECE, true), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(used_len, 1025);
}
END_TEST

START_TEST(large_requests_go_in_steps)
{
	uint64_t data = driver_alloc(&driver, 1 << 20), status = driver_alloc(&driver, 1);
	struct driver_buffer buffers[14] = {{header(VIRTIO_BLK_T_IN, 0), 16, false}};
	uint8_t expected[PIECE];

	for (int i = 1; i <= 12; i++)
		buffers[i] = (struct driver_buffer){data, 1 << 20, true};
	buffers[13] = (struct driver_buffer){status, 1, true};
	*(uint8_t *)driver_at(&driver, status) = 0xee;
	disk_fill(11 * 2048, 44);
	fill(expected, PIECE, 44);
	ck_assert_uint_eq(driver_run(&driver, 0, driver_submit(&driver, 0, buffers, 14)),
			  (12 << 20) + 1);
	ck_assert_uint_eq(*(uint8_t *)driver_at(&driver, status), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(driver_at(&driver, data), expected, PIECE);
}
END_TEST

/* As many as the queue holds, at once: 42 chains of 3. Returns where the data buffers are. */
static uint64_t submit_many(uint64_t *status)
{
	uint64_t data = driver_alloc(&driver, 42 * PIECE);

	*status = driver_alloc(&driver, 42);
	memset(driver_at(&driver, *status), 0xee, 42);
	for (unsigned int i = 0; i < 42; i++) {
		struct driver_buffer buffers[3] = {{header(VIRTIO_BLK_T_IN, 8 * i), 16, false},
						   {data + i * PIECE, PIECE, true},
						   {*status + i, 1, true}};

		disk_fill(8 * i, (uint8_t)i);
		driver_submit(&driver, 0, buffers, 3);
	}
	driver_kick(&driver, 0);
	return data;
}

START_TEST(many_requests_at_once)
{
	uint64_t status, data = submit_many(&status);
	uint8_t expected[PIECE];

	for (unsigned int i = 0; i < 42; i++)
		ck_assert_uint_eq(driver_wait(&driver, 0).len, PIECE + 1);
	for (unsigned int i = 0; i < 42; i++) {
		fill(expected, PIECE, (uint8_t)i);
		ck_assert_mem_eq(driver_at(&driver, data + i * PIECE), expected, PIECE);
		ck_assert_uint_eq(((uint8_t *)driver_at(&driver, status))[i], VIRTIO_BLK_S_OK);
	}
}
END_TEST

/* More than the device has requests for: each is answered all the same, in the queue that it came
 * by. */
START_TEST(every_queue_is_served)
{
	uint64_t data = driver_alloc(&driver, 4 * PIECE), status = driver_alloc(&driver, 4);

	ck_assert(blk_device(blk)->features & 1ull << VIRTIO_BLK_F_MQ);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, 0x100 + 34, 2), 4);
	for (unsigned int queue = 0; queue < 4; queue++) {
		struct driver_buffer buffers[3] = {{header(VIRTIO_BLK_T_IN, 8 * queue), 16, false},
						   {data + queue * PIECE, PIECE, true},
						   {status + queue, 1, true}};

		disk_fill(8 * queue, (uint8_t)queue);
		for (unsigned int i = 0; i < 100; i++)
			driver_submit_indirect(&driver, queue, buffers, 3);
	}
	for (unsigned int queue = 4; queue-- > 0;)
		driver_kick(&driver, queue);
	for (unsigned int queue = 0; queue < 4; queue++) {
		uint8_t expected[PIECE];

		for (unsigned int i = 0; i < 100; i++)
			ck_assert_uint_eq(driver_wait(&driver, queue).len, PIECE + 1);
		fill(expected, PIECE, (uint8_t)queue);
		ck_assert_mem_eq(driver_at(&driver, data + queue * PIECE), expected, PIECE);
		ck_assert_uint_eq(*(uint8_t *)driver_at(&driver, status + queue), VIRTIO_BLK_S_OK);
	}
}
END_TEST

START_TEST(after_a_reset_memory_is_left_alone)
{
	const uint32_t half = DRIVER_MEMORY_LEN / 2;
	uint64_t status;

	for (int round = 0; round < 8; round++) {
		submit_many(&status);
		driver_reset(&driver);
		memset(driver.bytes, 0x5a, half);
		/* A request that was answered shows that the thread is done with what was before.
		 */
		driver.next = DRIVER_MEMORY_GPA + half;
		driver_start(&driver, DRIVER_FEATURES);
		ck_assert_uint_eq(run(VIRTIO_BLK_T_FLUSH, 0, 0, 0, false), VIRTIO_BLK_S_OK);
		ck_assert(driver.bytes[0] == 0x5a);
		ck_assert(memcmp(driver.bytes, driver.bytes + 1, half - 1) == 0);
		driver_reset(&driver);
		driver_forget(&driver);
		driver_start(&driver, DRIVER_FEATURES);
	}
}
END_TEST

/* What has begun is finished by then, the rest begins when it is released. */
START_TEST(while_it_is_held_memory_is_left_alone)
{
	static uint8_t before[DRIVER_MEMORY_LEN];
	uint64_t status;

	for (int round = 0; round < 8; round++) {
		submit_many(&status);
		if (round % 2)
			usleep(100 * (useconds_t)round);
		virtio_mmio_hold(&driver.mmio);
		memcpy(before, driver.bytes, sizeof(before));
		driver_kick(&driver, 0);
		usleep(2000);
		ck_assert_mem_eq(before, driver.bytes, sizeof(before));
		virtio_mmio_release(&driver.mmio);
		for (unsigned int i = 0; i < 42; i++)
			ck_assert_uint_eq(driver_wait(&driver, 0).len, PIECE + 1);
		driver_forget(&driver);
		driver_reset(&driver);
		driver_start(&driver, DRIVER_FEATURES);
	}
}
END_TEST

static const struct rate unlimited[2];
static const struct rate one_a_second[2] = {{0, 0}, {1, 1}};

/* Writes to so many different places. */
static void submit_writes(unsigned int count)
{
	uint64_t data = driver_alloc(&driver, PIECE), status = driver_alloc(&driver, count);

	memset(driver_at(&driver, data), 7, PIECE);
	memset(driver_at(&driver, status), 0xee, count);
	for (unsigned int i = 0; i < count; i++) {
		struct driver_buffer buffers[3] = {{header(VIRTIO_BLK_T_OUT, 8 * i), 16, false},
						   {data, PIECE, false},
						   {status + i, 1, true}};

		driver_submit(&driver, 0, buffers, 3);
	}
	driver_kick(&driver, 0);
}

/* Of so many places one after the other. */
static unsigned int count_written(unsigned int count)
{
	uint8_t written[PIECE], bytes[PIECE];
	unsigned int found = 0;

	memset(written, 7, sizeof(written));
	for (unsigned int i = 0; i < count; i++) {
		ck_assert_int_eq(pread(disk, bytes, PIECE, (off_t)(8 * i * SECTOR)), PIECE);
		found += memcmp(bytes, written, PIECE) == 0;
	}
	return found;
}

/* By the first rate the writes would take longer than driver_wait waits. */
START_TEST(reads_pass_writes_that_wait_and_new_rates_hold_at_once)
{
	uint64_t data = driver_alloc(&driver, PIECE), status = driver_alloc(&driver, 1);
	struct driver_buffer read[3] = {
		{header(VIRTIO_BLK_T_IN, 800), 16, false}, {data, PIECE, true}, {status, 1, true}};
	unsigned int answers = 1;

	ck_assert_int_eq(blk_limit(blk, unlimited, one_a_second, NULL), 0);
	submit_writes(30);
	driver_submit(&driver, 0, read, 3);
	driver_kick(&driver, 0);
	while (driver_wait(&driver, 0).len != PIECE + 1)
		answers++;
	ck_assert_uint_lt(count_written(30), 30);
	ck_assert_int_eq(blk_limit(blk, unlimited, unlimited, NULL), 0);
	for (; answers < 31; answers++)
		driver_wait(&driver, 0);
	ck_assert_uint_eq(count_written(30), 30);
	/* And the other way round. */
	ck_assert_int_eq(blk_limit(blk, one_a_second, unlimited, NULL), 0);
	ck_assert_uint_eq(run(VIRTIO_BLK_T_IN, 800, data, PIECE, true), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(run(VIRTIO_BLK_T_FLUSH, 0, 0, 0, false), VIRTIO_BLK_S_OK);
}
END_TEST

/* Else a guest could have anything done at once by a reset after it. */
START_TEST(a_reset_ends_what_waits_for_its_rate)
{
	uint64_t data;

	ck_assert_int_eq(blk_limit(blk, unlimited, one_a_second, NULL), 0);
	submit_writes(30);
	driver_wait(&driver, 0);
	driver_reset(&driver);
	driver_forget(&driver);
	driver_start(&driver, DRIVER_FEATURES);
	data = driver_alloc(&driver, PIECE);
	ck_assert_uint_eq(run(VIRTIO_BLK_T_IN, 800, data, PIECE, true), VIRTIO_BLK_S_OK);
	ck_assert_uint_lt(count_written(30), 30);
}
END_TEST

START_TEST(what_waits_for_its_rate_is_done_by_a_machine_that_is_held)
{
	ck_assert_int_eq(blk_limit(blk, unlimited, one_a_second, NULL), 0);
	submit_writes(30);
	driver_wait(&driver, 0);
	virtio_mmio_hold(&driver.mmio);
	/* All of it was taken out of the queue, or none is begun now. */
	ck_assert_uint_eq(count_written(30), 30);
	virtio_mmio_release(&driver.mmio);
	for (unsigned int i = 1; i < 30; i++)
		driver_wait(&driver, 0);
}
END_TEST

START_TEST(a_read_only_disk_stays_as_it_is)
{
	uint64_t data = driver_alloc(&driver, PIECE);
	uint8_t kept[PIECE];

	ck_assert(blk_device(blk)->features & 1ull << VIRTIO_BLK_F_RO);
	ck_assert(!(blk_device(blk)->features & 1ull << VIRTIO_BLK_F_DISCARD));
	fill(kept, PIECE, 1);
	disk_fill(0, 1);
	ck_assert_uint_eq(run(VIRTIO_BLK_T_OUT, 0, data, PIECE, false), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(run_range(VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(run_range(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_IOERR);
	disk_is(0, kept);
	ck_assert_uint_eq(run(VIRTIO_BLK_T_IN, 0, data, PIECE, true), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(driver_at(&driver, data), kept, PIECE);
	ck_assert_uint_eq(run(VIRTIO_BLK_T_FLUSH, 0, 0, 0, false), VIRTIO_BLK_S_OK);
}
END_TEST

/* Three files of 3, 0 and 5 sectors, and odd rests that do not count. */
static void setup_joined(void)
{
	struct blk_options options = {.read_only = true, .name = "blk", .more_count = 2};
	const int sectors[] = {3, 0, 5};
	int fds[3];
	uint8_t bytes[5 * SECTOR];

	driver_init(&driver);
	disk = -1;
	for (int i = 0; i < 3; i++) {
		fds[i] = driver_disk();
		fill(bytes, sizeof(bytes), (uint8_t)(i + 1));
		ck_assert_int_eq(pwrite(fds[i], bytes, sectors[i] * SECTOR, 0),
				 sectors[i] * SECTOR);
		ck_assert_int_eq(ftruncate(fds[i], sectors[i] * SECTOR + 7), 0);
	}
	options.fd = fds[0];
	options.more_fds = fds + 1;
	ck_assert_int_eq(blk_create(&blk, &options, &driver.mem, NULL), 0);
	driver_attach(&driver, blk_device(blk), blk_loop(blk), false);
	driver_start(&driver, DRIVER_FEATURES | (blk_device(blk)->features & 0xffff));
}

START_TEST(files_follow_each_other)
{
	uint64_t data = driver_alloc(&driver, 8 * SECTOR);
	uint8_t all[8 * SECTOR];

	fill(all, 3 * SECTOR, 1);
	fill(all + 3 * SECTOR, 5 * SECTOR, 3);
	for (uint64_t from = 0; from < 8; from++)
		for (uint32_t count = 1; count <= 8 - from; count++) {
			uint32_t len = count * SECTOR;

			memset(driver_at(&driver, data), 0, len);
			ck_assert_uint_eq(run(VIRTIO_BLK_T_IN, from, data, len, true),
					  VIRTIO_BLK_S_OK);
			ck_assert_mem_eq(driver_at(&driver, data), all + from * SECTOR, len);
		}
	ck_assert_uint_eq(run(VIRTIO_BLK_T_IN, 7, data, 2 * SECTOR, true), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(run(VIRTIO_BLK_T_FLUSH, 0, 0, 0, false), VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(only_a_read_only_disk_is_several_files)
{
	struct blk_options options = {.name = "blk", .more_count = 1};
	struct error err = {0};
	struct blk *none;
	int other = memfd_create("part", MFD_CLOEXEC);

	options.fd = disk;
	options.more_fds = &other;
	ck_assert_int_eq(blk_create(&none, &options, &driver.mem, &err), -EINVAL);
	ck_assert_str_eq(err.message, "blk: only a read-only disk can be several files");
	close(other);
}
END_TEST

START_TEST(what_is_no_disk_is_refused)
{
	struct blk_options options = {.name = "blk"};
	struct error err = {0};
	struct blk *none;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	options.fd = fds[0];
	ck_assert_int_eq(blk_create(&none, &options, &driver.mem, &err), -EINVAL);
	ck_assert_str_eq(err.message, "blk: neither a file nor a block device");
	/* Still ours. */
	ck_assert_int_eq(close(fds[0]), 0);
	close(fds[1]);
}
END_TEST

/* How much of the file is in the page cache. */
static size_t cached_pages(void)
{
	static unsigned char pages[SECTORS * SECTOR / PIECE];
	size_t count = 0;
	void *map = mmap(NULL, sizeof(pages) * PIECE, PROT_READ, MAP_SHARED, disk, 0);

	ck_assert_ptr_ne(map, MAP_FAILED);
	ck_assert_int_eq(mincore(map, sizeof(pages) * PIECE, pages), 0);
	for (size_t i = 0; i < sizeof(pages); i++)
		count += pages[i] & 1;
	munmap(map, sizeof(pages) * PIECE);
	return count;
}

START_TEST(direct_io_leaves_the_page_cache_alone)
{
	uint64_t data = driver_alloc(&driver, 4 * PIECE);
	uint8_t expected[PIECE];

	/* Aligned to a page, to no more than a sector, and to nothing. */
	for (uint64_t odd = 0; odd < 3; odd++) {
		uint64_t at = (data + PIECE - 1) / PIECE * PIECE +
			      (odd ? odd == 1 ? SECTOR : 7 : 0);

		ck_assert_int_eq(fsync(disk), 0);
		ck_assert_int_eq(posix_fadvise(disk, 0, 0, POSIX_FADV_DONTNEED), 0);
		fill(driver_at(&driver, at), PIECE, (uint8_t)(9 + odd));
		ck_assert_uint_eq(run(VIRTIO_BLK_T_OUT, 8 * odd, at, PIECE, false),
				  VIRTIO_BLK_S_OK);
		memset(driver_at(&driver, at), 0, PIECE);
		ck_assert_uint_eq(run(VIRTIO_BLK_T_IN, 8 * odd, at, PIECE, true), VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(used_len, PIECE + 1);
		ck_assert_uint_eq(cached_pages(), 0);
		fill(expected, PIECE, (uint8_t)(9 + odd));
		ck_assert_mem_eq(driver_at(&driver, at), expected, PIECE);
		disk_is(8 * odd, expected);
	}
}
END_TEST

START_TEST(what_is_no_whole_block_is_refused)
{
	uint8_t status = 0xee, data[3 * SECTOR];
	const struct blk_limits limits = {.capacity = 1 << 20, .block_size = PIECE};
	static const struct {
		uint64_t sector;
		uint32_t len;
		uint8_t result;
	} rows[] = {
		{8, PIECE, VIRTIO_BLK_S_OK},
		{1, PIECE, VIRTIO_BLK_S_IOERR},
		{8, SECTOR, VIRTIO_BLK_S_IOERR},
		{8, PIECE + SECTOR, VIRTIO_BLK_S_IOERR},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static struct blk_request request;
		struct virtio_blk_outhdr hdr = {.type = VIRTIO_BLK_T_IN, .sector = rows[i].sector};

		request.chain.readable = 1;
		request.chain.writable = 2;
		request.chain.readable_len = sizeof(hdr);
		request.chain.writable_len = rows[i].len + 1;
		request.chain.iov[0] = (struct iovec){&hdr, sizeof(hdr)};
		request.chain.iov[1] = (struct iovec){data, rows[i].len};
		request.chain.iov[2] = (struct iovec){&status, 1};
		ck_assert_int_eq(blk_request_parse(&request, &limits), 0);
		ck_assert_uint_eq(request.result, rows[i].result);
		ck_assert_uint_eq(request.op, rows[i].result ? BLK_NONE : BLK_READ);
	}
}
END_TEST

START_TEST(direct_io_is_for_one_file_that_has_it)
{
	struct blk_options options = {
		.name = "blk", .direct = true, .fd = open("/proc/stat", O_RDONLY)};
	struct error err = {0};
	struct blk *none;

	ck_assert_int_lt(blk_create(&none, &options, &driver.mem, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.message,
				     "blk: its file cannot be read and written past the page cache "
				     "(disk-io=cached does without)"));
	ck_assert_int_eq(close(options.fd), 0);
	options.fd = disk;
	options.more_fds = &disk;
	options.more_count = 1;
	options.read_only = true;
	error_clear(&err);
	ck_assert_int_eq(blk_create(&none, &options, &driver.mem, &err), -EINVAL);
	ck_assert_str_eq(err.message, "blk: only a disk of one file can have direct I/O");
}
END_TEST

static TCase *all_cases(const char *name, void (*fixture)(void))
{
	TCase *tcase = tcase_create(name);

	tcase_add_checked_fixture(tcase, fixture, teardown);
	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, config_describes_the_disk);
	tcase_add_test(tcase, reads_what_is_on_the_disk);
	tcase_add_test(tcase, writes_what_it_is_given);
	tcase_add_loop_test(tcase, buffers_may_be_cut_anywhere, 0, 2);
	tcase_add_test(tcase, requests_beyond_the_disk_fail);
	tcase_add_loop_test(tcase, ranges_become_zeroes, 0, 3);
	tcase_add_test(tcase, bad_ranges_are_refused);
	tcase_add_test(tcase, tells_its_serial);
	tcase_add_test(tcase, odd_requests_are_answered);
	tcase_add_test(tcase, without_a_status_byte_it_asks_for_a_reset);
	tcase_add_test(tcase, a_truncated_file_is_an_error);
	tcase_add_test(tcase, large_requests_go_in_steps);
	tcase_add_test(tcase, many_requests_at_once);
	tcase_add_test(tcase, after_a_reset_memory_is_left_alone);
	tcase_add_test(tcase, while_it_is_held_memory_is_left_alone);
	tcase_add_test(tcase, reads_pass_writes_that_wait_and_new_rates_hold_at_once);
	tcase_add_test(tcase, a_reset_ends_what_waits_for_its_rate);
	tcase_add_test(tcase, what_waits_for_its_rate_is_done_by_a_machine_that_is_held);
	tcase_add_test(tcase, what_is_no_disk_is_refused);
	return tcase;
}

Suite *blk_suite(void)
{
	Suite *suite = suite_create("blk");
	TCase *tcase = tcase_create("read-only");

	suite_add_tcase(suite, all_cases("io_uring", setup_uring));
	suite_add_tcase(suite, all_cases("plain", setup_plain));
	suite_add_tcase(suite, all_cases("in memory", setup_memory));
	if ((disk = open_direct_file()) >= 0) {
		TCase *direct = all_cases("direct", setup_direct);

		close(disk);
		tcase_add_test(direct, direct_io_leaves_the_page_cache_alone);
		suite_add_tcase(suite, direct);
	}
	tcase_add_checked_fixture(tcase, setup_read_only, teardown);
	tcase_add_test(tcase, what_is_no_whole_block_is_refused);
	tcase_add_test(tcase, direct_io_is_for_one_file_that_has_it);
	tcase_add_test(tcase, a_read_only_disk_stays_as_it_is);
	tcase_add_test(tcase, only_a_read_only_disk_is_several_files);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("queues");
	tcase_add_checked_fixture(tcase, setup_queues, teardown);
	tcase_add_test(tcase, many_requests_at_once);
	tcase_add_test(tcase, every_queue_is_served);
	tcase_add_test(tcase, after_a_reset_memory_is_left_alone);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("joined");
	tcase_add_checked_fixture(tcase, setup_joined, teardown);
	tcase_add_test(tcase, files_follow_each_other);
	suite_add_tcase(suite, tcase);
	return suite;
}
