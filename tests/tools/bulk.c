/*
 * bulk write|check files DIR COUNT: COUNT small files in directories of a thousand.
 * bulk write|check stream FILE MIB: one file, in blocks of 1 MiB, and an fsync behind it.
 * Content follows from a file's or block's number, so that any side can check what another wrote.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB    (1ul << 20)
#define FOLDER 1000

static uint64_t block[MIB / sizeof(uint64_t)];

static void fail(const char *path, unsigned long number, const char *why)
{
	fprintf(stderr, "bulk: %s: number %lu: %s\n", path, number, why);
	exit(1);
}

/* Cheap, and no two 64-bit words are alike. */
static void fill(unsigned long number)
{
	for (size_t i = 0; i < MIB / sizeof(uint64_t); i++)
		block[i] = (number << 32 | i) * 0x9e3779b97f4a7c15ull;
}

static void transfer(int fd, const char *path, unsigned long number, size_t len, int writes)
{
	static uint64_t got[MIB / sizeof(uint64_t)];
	ssize_t n;

	for (size_t at = 0; at < len; at += (size_t)n) {
		n = writes ? write(fd, (char *)block + at, len - at)
			   : read(fd, (char *)got + at, len - at);
		if (n <= 0)
			fail(path, number, n < 0 ? strerror(errno) : "is too short");
	}
	if (!writes && memcmp(got, block, len) != 0)
		fail(path, number, "has another content");
}

static int open_file(const char *path, unsigned long number, int writes)
{
	int fd = open(path, (writes ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY) | O_CLOEXEC, 0644);

	if (fd < 0)
		fail(path, number, strerror(errno));
	return fd;
}

static void files(const char *dir, unsigned long count, int writes)
{
	char path[4096];

	fill(1);
	if (writes && mkdir(dir, 0755) < 0 && errno != EEXIST)
		fail(dir, 0, strerror(errno));
	for (unsigned long i = 0; i < count; i++) {
		size_t len = 8 + i * 37 % 2000;
		int fd;

		snprintf(path, sizeof(path), "%s/%lu", dir, i / FOLDER);
		if (writes && i % FOLDER == 0 && mkdir(path, 0755) < 0 && errno != EEXIST)
			fail(path, i, strerror(errno));
		snprintf(path, sizeof(path), "%s/%lu/%lu", dir, i / FOLDER, i);
		fd = open_file(path, i, writes);
		block[0] = i;
		transfer(fd, path, i, len, writes);
		if (close(fd) < 0)
			fail(path, i, strerror(errno));
	}
}

static void stream(const char *path, unsigned long mib, int writes)
{
	int fd = open_file(path, 0, writes);

	for (unsigned long i = 0; i < mib; i++) {
		fill(i);
		transfer(fd, path, i, MIB, writes);
	}
	if (writes && fsync(fd) < 0)
		fail(path, mib, strerror(errno));
	close(fd);
}

int main(int argc, char **argv)
{
	int writes = argc > 1 && !strcmp(argv[1], "write");

	if (argc != 5 || (!writes && strcmp(argv[1], "check") != 0)) {
		fprintf(stderr, "usage: bulk write|check files|stream PATH COUNT\n");
		return 2;
	}
	if (!strcmp(argv[2], "files"))
		files(argv[3], strtoul(argv[4], NULL, 10), writes);
	else
		stream(argv[3], strtoul(argv[4], NULL, 10), writes);
	return 0;
}
