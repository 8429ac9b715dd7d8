/*
 * registered ROUNDS FILE...: random reads of FILE by io_uring, into a VM's worth of memory that is
 * registered with the ring (IORING_REGISTER_BUFFERS), and into the same not registered: what a
 * disk of ours would gain. By the page cache, and past it where the file can be read so. Then what
 * it takes to register it: of a VM that was booted, and of a clone, whose memory is a template's
 * until it is written. Samples are for bench/report; ns are of the process on a CPU, kernel and
 * all.
 *
 * A file is 16 MiB at least.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/count.h"

#define MEMORY	 (256u << 20)
#define FILE_LEN (16u << 20)
#define READS	 16384u
#define DEPTH	 32u

static void __attribute__((noreturn)) fail(const char *what, int error)
{
	fprintf(stderr, "registered: %s: %s\n", what, strerror(error));
	exit(1);
}

/* As a VM's is; or as a clone's, of which nothing was written yet. */
static uint8_t *map_memory(bool clone)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);
	uint8_t *memory;

	if (fd < 0 || ftruncate(fd, MEMORY) < 0)
		fail("memory", errno);
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		fail("memory", errno);
	memset(memory, 1, MEMORY);
	if (clone) {
		volatile uint8_t sum = 0;

		munmap(memory, MEMORY);
		memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
		if (memory == MAP_FAILED)
			fail("memory", errno);
		for (size_t at = 0; at < MEMORY; at += 4096)
			sum = (uint8_t)(sum + memory[at]);
	}
	/* The descriptor stays open: a template's file is another's, too. */
	return memory;
}

static struct io_uring ring;

static void open_ring(uint8_t *memory, bool registered)
{
	struct iovec all = {memory, MEMORY};
	int ret = io_uring_queue_init(DEPTH, &ring, 0);

	if (ret == 0 && registered)
		ret = io_uring_register_buffers(&ring, &all, 1);
	if (ret < 0)
		fail("io_uring", -ret);
}

static uint64_t next_random(void)
{
	static uint64_t random = 88172645463325252ull;

	random ^= random << 13;
	random ^= random >> 7;
	random ^= random << 17;
	return random;
}

static void read_some(int fd, uint8_t *memory, unsigned int block, unsigned int count,
		      bool registered)
{
	struct io_uring_cqe *cqe;

	for (unsigned int i = 0; i < count; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
		uint64_t offset = next_random() % (FILE_LEN / block) * block;
		uint8_t *to = memory + next_random() % (MEMORY / block) * block;

		if (registered)
			io_uring_prep_read_fixed(sqe, fd, to, block, offset, 0);
		else
			io_uring_prep_read(sqe, fd, to, block, offset);
	}
	io_uring_submit_and_wait(&ring, count);
	while (io_uring_peek_cqe(&ring, &cqe) == 0) {
		if (cqe->res != (int)block)
			fail("read", cqe->res < 0 ? -cqe->res : EIO);
		io_uring_cqe_seen(&ring, cqe);
		count--;
	}
	if (count)
		fail("read", EIO);
}

static void measure_reads(const char *path, uint8_t *memory, bool direct)
{
	static const struct {
		unsigned int block, depth;
	} jobs[] = {{4096, 1}, {4096, DEPTH}, {65536, 1}, {65536, DEPTH}};
	int fd = open(path, O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0));

	if (fd < 0 && direct)
		return;
	if (fd < 0)
		fail(path, errno);
	for (unsigned int i = 0; i < 2 * COUNT(jobs); i++) {
		unsigned int block = jobs[i / 2].block, depth = jobs[i / 2].depth;
		unsigned int reads = block == 4096 ? READS : READS / 8;
		bool registered = i & 1;
		uint64_t ns, cpu_ns;

		open_ring(memory, registered);
		read_some(fd, memory, block, depth, registered);
		ns = monotonic_ns();
		cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
		for (unsigned int done = 0; done < reads; done += depth)
			read_some(fd, memory, block, depth, registered);
		printf("%s%s, %uk, depth %u: %s\tns\t%.0f\n", path, direct ? ", direct" : "",
		       block / 1024, depth, registered ? "registered" : "not",
		       (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns) / reads);
		printf("%s%s, %uk, depth %u, with waiting: %s\tns\t%.0f\n", path,
		       direct ? ", direct" : "", block / 1024, depth,
		       registered ? "registered" : "not", (double)(monotonic_ns() - ns) / reads);
		io_uring_queue_exit(&ring);
	}
	close(fd);
}

/* In KiB: what a process has for itself, of what it shares its part. */
static double memory_kib(const char *what)
{
	char line[256];
	double kib = -1;
	FILE *file = fopen("/proc/self/smaps_rollup", "r");

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, what, strlen(what)))
			kib = atof(line + strlen(what));
	if (!file)
		fail("smaps_rollup", errno);
	fclose(file);
	return kib;
}

static void measure_registration(bool clone)
{
	uint8_t *memory = map_memory(clone);
	double before = memory_kib("Anonymous:");
	uint64_t start = monotonic_ns();
	const char *what = clone ? "a clone" : "booted";

	open_ring(memory, true);
	printf("register 256 MiB: %s\tms\t%.2f\n", what, (double)(monotonic_ns() - start) / 1e6);
	printf("register 256 MiB, memory of its own: %s\tKiB\t%.0f\n", what,
	       memory_kib("Anonymous:") - before);
	io_uring_queue_exit(&ring);
	munmap(memory, MEMORY);
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[1]) : 0;
	uint8_t *memory;

	if (rounds < 1) {
		fprintf(stderr, "usage: registered ROUNDS FILE...\n");
		return 2;
	}
	memory = map_memory(false);
	while (rounds--) {
		for (int i = 2; i < argc; i++) {
			measure_reads(argv[i], memory, false);
			measure_reads(argv[i], memory, true);
		}
		measure_registration(false);
		measure_registration(true);
	}
	return 0;
}
