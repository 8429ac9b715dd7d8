/*
 * fsx FILE SEED COUNT: that many random operations on one file - write, read, truncate, map, punch,
 * sync, close and open - beside a copy of it in memory; after each read, and at the end, both must
 * be the same. The idea is that of the program of this name which Apple wrote for NFS; Debian has
 * none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (256u * 1024)
#define SPAN_MAX (48u * 1024)

struct file {
	const char *path;
	int fd;
	size_t len;
	uint8_t model[FILE_MAX];
};

static struct file file;
static unsigned long step;
static uint64_t state;

static uint32_t random_below(uint32_t limit)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33) % limit;
}

static void fail(const char *what)
{
	fprintf(stderr, "fsx: operation %lu: %s: %s\n", step, what, strerror(errno));
	exit(1);
}

static void differ(const char *what, size_t at)
{
	fprintf(stderr, "fsx: operation %lu: %s: byte %zu differs\n", step, what, at);
	exit(1);
}

static void compare(const char *what, const uint8_t *got, size_t start, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (got[i] != file.model[start + i])
			differ(what, start + i);
}

static void open_file(int flags)
{
	file.fd = open(file.path, O_RDWR | O_CLOEXEC | flags, 0644);
	if (file.fd < 0)
		fail("open");
}

/* A span that begins within what may be there. */
static void span(size_t limit, size_t *start, size_t *len)
{
	*start = limit ? random_below((uint32_t)limit) : 0;
	*len = 1 + random_below(SPAN_MAX);
	if (*len > limit - *start)
		*len = limit - *start;
}

static void grow_to(size_t len)
{
	if (len > file.len)
		file.len = len;
}

static void do_write(void)
{
	size_t start, len;

	span(FILE_MAX, &start, &len);
	for (size_t i = 0; i < len; i++)
		file.model[start + i] = (uint8_t)random_below(256);
	if (pwrite(file.fd, file.model + start, len, (off_t)start) != (ssize_t)len)
		fail("write");
	grow_to(start + len);
}

static void do_read(void)
{
	static uint8_t got[SPAN_MAX];
	size_t start, len;

	span(file.len, &start, &len);
	if (pread(file.fd, got, len, (off_t)start) != (ssize_t)len)
		fail("read");
	compare("read", got, start, len);
}

static void do_truncate(void)
{
	size_t len = random_below(FILE_MAX);

	if (ftruncate(file.fd, (off_t)len) < 0)
		fail("truncate");
	if (len < file.len)
		memset(file.model + len, 0, file.len - len);
	file.len = len;
}

static void do_map(int writes)
{
	size_t start, len, first;
	uint8_t *map;

	span(file.len, &start, &len);
	if (!len)
		return;
	first = start & ~(size_t)4095;
	map = mmap(NULL, start + len - first, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd,
		   (off_t)first);
	if (map == MAP_FAILED)
		fail("mmap");
	if (writes) {
		for (size_t i = 0; i < len; i++)
			file.model[start + i] = (uint8_t)random_below(256);
		memcpy(map + (start - first), file.model + start, len);
		if (msync(map, start + len - first, MS_SYNC) < 0)
			fail("msync");
	} else {
		compare("mapping", map + (start - first), start, len);
	}
	munmap(map, start + len - first);
}

static void do_punch(void)
{
	size_t start, len;

	span(file.len, &start, &len);
	if (!len)
		return;
	if (fallocate(file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start,
		      (off_t)len) < 0) {
		if (errno == EOPNOTSUPP)
			return;
		fail("punch a hole");
	}
	memset(file.model + start, 0, len);
}

static void do_append(void)
{
	uint8_t bytes[512];
	int fd;

	if (file.len + sizeof(bytes) > FILE_MAX)
		return;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = file.model[file.len + i] = (uint8_t)random_below(256);
	fd = open(file.path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0 || write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
		fail("append");
	close(fd);
	grow_to(file.len + sizeof(bytes));
}

static void do_reopen(void)
{
	struct stat st;

	if (close(file.fd) < 0)
		fail("close");
	open_file(0);
	if (fstat(file.fd, &st) < 0)
		fail("stat");
	if ((size_t)st.st_size != file.len)
		differ("size", file.len);
}

static void operate(void)
{
	switch (random_below(16)) {
	case 0 ... 3:
		do_write();
		break;
	case 4 ... 7:
		do_read();
		break;
	case 8:
		do_truncate();
		break;
	case 9 ... 10:
		do_map(0);
		break;
	case 11 ... 12:
		do_map(1);
		break;
	case 13:
		do_punch();
		break;
	case 14:
		do_append();
		break;
	default:
		if (random_below(2) && fsync(file.fd) < 0)
			fail("fsync");
		do_reopen();
	}
}

int main(int argc, char **argv)
{
	static uint8_t whole[FILE_MAX + 1];
	unsigned long count;
	ssize_t len;

	if (argc != 4) {
		fprintf(stderr, "usage: fsx FILE SEED COUNT\n");
		return 2;
	}
	file.path = argv[1];
	state = strtoull(argv[2], NULL, 10);
	count = strtoul(argv[3], NULL, 10);
	open_file(O_CREAT | O_TRUNC);
	for (step = 0; step < count; step++)
		operate();
	do_reopen();
	len = pread(file.fd, whole, sizeof(whole), 0);
	if (len != (ssize_t)file.len)
		differ("length", file.len);
	compare("the whole", whole, 0, file.len);
	return 0;
}
