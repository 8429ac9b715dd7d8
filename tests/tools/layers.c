/*
 * layers DIR COUNT FILES MIB: the trees of an image's COUNT layers below DIR/1 (the lowest) to
 * DIR/COUNT, as an OCI layer has them, with whiteouts and opaque directories as names. Together
 * they have FILES files with MIB of content, the same ones each time. All that a file can have is
 * there: modes, owners, times, attributes, links, holes, devices, odd names. Needs root.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FOLDER 30 /* files in a directory */
#define BLOCK  4096
#define HOLE   (20 << 20)

static uint64_t state;

static uint32_t random_below(uint32_t limit)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33) % limit;
}

static void check(int ret, const char *path)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "layers: %s: %s\n", path, strerror(errno));
	exit(1);
}

/* Owner, mode and times that this layer gives to a path; last, since writing changes them. */
static void dress(const char *path, unsigned int number)
{
	static const uid_t owners[] = {0, 1, 1000, 65534, 123456, 7654321};
	static const mode_t modes[] = {0644, 0755, 0600, 0400, 04755, 02711, 0666, 0000};
	struct timespec times[2] = {
		{.tv_nsec = UTIME_OMIT},
		{1000000000 + number * 1234567ll % 900000000, number * 7919ll % 1000000000}};
	struct stat st;

	check(lstat(path, &st), path);
	check(lchown(path, owners[number % 6], owners[number / 3 % 6]), path);
	if (S_ISDIR(st.st_mode))
		check(chmod(path, number % 7 ? 0755 : 01777), path);
	else if (!S_ISLNK(st.st_mode))
		check(chmod(path, modes[number % 8]), path);
	if (S_ISREG(st.st_mode) && number % 11 == 0)
		check(lsetxattr(path, "security.test", &number, sizeof(number), 0), path);
	check(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), path);
}

/* Compresses well, and no two blocks are alike. */
static void write_file(const char *path, size_t len)
{
	static uint8_t block[BLOCK];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	check(fd, path);
	while (len > 0) {
		size_t n = len < BLOCK ? len : BLOCK;

		for (size_t i = 0; i < 64; i++)
			block[i] = (uint8_t)random_below(256);
		check((int)write(fd, block, n), path);
		len -= n;
	}
	close(fd);
}

static void make_directory(const char *path)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		check(-1, path);
}

static void name_of(char path[64], const char *prefix, unsigned int layer, unsigned int file)
{
	unsigned int folder = file / FOLDER;

	snprintf(path, 64, "data/%u/%u/%sf%u", layer, folder, prefix, file);
	/* In another layer than the file's the directories may not be there yet. */
	for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		make_directory(path);
		*slash = '/';
	}
}

static void make_files(unsigned int layer, unsigned int count, size_t average)
{
	char path[64], other[64];

	make_directory("links");
	for (unsigned int i = 0; i < count; i++) {
		name_of(path, "", layer, i);
		write_file(path, i % 10 ? average / 2 + random_below(64) : average * 11 / 2);
		dress(path, layer * 100003 + i);
		/* Of a file with a name that is gone overlayfs counts that name still. */
		if (i % 40 == 1 && i / FOLDER != 1 && i / FOLDER != 2) {
			snprintf(other, sizeof(other), "links/%u-%u", layer, i);
			check(link(path, other), other);
		}
	}
}

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	check(fd, path);
	close(fd);
}

/* What this layer does to the files of the one below: the numbers are those of no linked file. */
static void change_lower(unsigned int layer, unsigned int count)
{
	unsigned int lower = layer - 1;
	char path[64], other[96];

	for (unsigned int i = 5; i < count; i += 50) {
		name_of(path, ".wh.", lower, i);
		touch(path);
		name_of(path, "", lower, i + 1);
		write_file(path, 100 * layer);
		dress(path, layer * 1009 + i);
	}
	/* A file becomes a directory, another a link; a directory becomes another one. */
	name_of(path, "", lower, 2);
	make_directory(path);
	snprintf(other, sizeof(other), "%s/inside", path);
	write_file(other, 10);
	name_of(path, "", lower, 3);
	check(symlink("/data/../etc/nothing", path), path);
	if (count <= FOLDER)
		return;
	snprintf(path, sizeof(path), "data/%u/1", lower);
	make_directory(path);
	snprintf(other, sizeof(other), "%s/.wh..wh..opq", path);
	touch(other);
	snprintf(other, sizeof(other), "%s/only", path);
	write_file(other, 5000);
	if (count <= 2 * FOLDER)
		return;
	snprintf(path, sizeof(path), "data/%u/.wh.2", lower);
	touch(path);
}

static void make_oddities(void)
{
	static const uint8_t capability[20] = {1, 0, 0, 2, 0, 4};
	char name[255];
	int fd;

	make_directory("odd");
	memset(name, 'n', sizeof(name) - 1);
	name[254] = '\0';
	check(chdir("odd"), "odd");
	write_file(name, 1);
	write_file("gr\xc3\xbc\xc3\x9f", 2);
	write_file("latin \xfc", 3);
	write_file(" \t\\\"'*", 4);
	write_file("empty", 0);
	write_file("ping", 10);
	check(lsetxattr("ping", "security.capability", capability, sizeof(capability), 0), "ping");
	check(symlink("gr\xc3\xbc\xc3\x9f", "relative"), "relative");
	check(symlink("/no/such/\xfc", "dangling"), "dangling");
	check(mkfifo("fifo", 0622), "fifo");
	check(mknod("disk", S_IFBLK | 0660, makedev(8, 17)), "disk");
	check(mknod("memory", S_IFCHR | 0640, makedev(1, 300)), "memory");
	fd = open("sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	check(fd, "sparse");
	check((int)pwrite(fd, "x", 1, HOLE), "sparse");
	check(ftruncate(fd, HOLE + 12345), "sparse");
	close(fd);
	dress("sparse", 1);
	check(chdir(".."), "..");
}

int main(int argc, char **argv)
{
	unsigned int count = argc == 5 ? (unsigned int)atoi(argv[2]) : 0;
	unsigned int files = count ? (unsigned int)atoi(argv[3]) / count : 0;
	size_t average = files ? (size_t)atoi(argv[4]) * 1048576 / count / files : 0;

	if (!average) {
		fprintf(stderr, "usage: layers DIR COUNT FILES MIB\n");
		return 2;
	}
	umask(022);
	check(chdir(argv[1]), argv[1]);
	for (unsigned int layer = 1; layer <= count; layer++) {
		char name[16];

		state = layer;
		snprintf(name, sizeof(name), "%u", layer);
		make_directory(name);
		check(chdir(name), name);
		make_directory("data");
		if (layer > 1)
			change_lower(layer, files);
		make_files(layer, files, average);
		if (layer == 1)
			make_oddities();
		check(chdir(".."), "..");
	}
	return 0;
}
