#include "runtime/scratch.h"
#include "runtime/file.h"
#include "runtime/store.h"
#include "runtime/tool.h"

#include "common/cleanup.h"
#include "common/extent.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Counted up when a change of the options makes other file systems: old ones are not used then. */
#define FORMAT 1

/*
 * Nothing here outlives its VM, so there is no journal and nothing kept for root. What need not be
 * written is not: few and packed metadata are what each container copies.
 */
static int format_disk(int fd, struct error *err)
{
	char image[32];
	char *argv[] = {"mkfs.ext4",
			"-q",
			"-F",
			"-O",
			"^has_journal,^resize_inode",
			"-m",
			"0",
			"-L",
			"scratch",
			"-E",
			"lazy_itable_init=1,nodiscard,packed_meta_blocks=1",
			image,
			NULL};

	snprintf(image, sizeof(image), "/proc/self/fd/%d", fd);
	return tool_run(argv, (const int[]){fd, -1}, "e2fsprogs", err);
}

static int make_pristine(int dir_fd, const char *name, uint64_t bytes, struct error *err)
{
	cleanup_free char *unfinished = format(STORE_UNFINISHED "%s-%d", name, getpid());
	cleanup_fd int fd = -1;
	int ret;

	if (!unfinished)
		return error_set(err, ENOMEM, "%s", name);
	store_remove_unfinished(dir_fd);
	fd = openat(dir_fd, unfinished, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return error_set(err, errno, "make %s", unfinished);
	ret = ftruncate(fd, (off_t)bytes) < 0
		      ? error_set(err, errno, "make it %llu bytes large", (unsigned long long)bytes)
		      : format_disk(fd, err);
	if (ret == 0 &&
	    (fsync(fd) < 0 || renameat(dir_fd, unfinished, dir_fd, name) < 0 || fsync(dir_fd) < 0))
		ret = error_set(err, errno, "keep %s", name);
	if (ret < 0)
		unlinkat(dir_fd, unfinished, 0);
	return ret;
}

/* Its length, and the magic number of ext4's superblock. */
static bool is_whole(int fd, uint64_t bytes)
{
	struct stat st;
	uint8_t magic[2];

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == bytes &&
	       pread(fd, magic, 2, 1024 + 0x38) == 2 && magic[0] == 0x53 && magic[1] == 0xef;
}

static int open_pristine(uint64_t bytes, struct error *err)
{
	cleanup_fd int dir_fd = store_open("scratch", err);
	cleanup_fd int lock_fd = -1;
	cleanup_fd int fd = -1;
	char name[48];
	int ret;

	if (dir_fd < 0)
		return dir_fd;
	snprintf(name, sizeof(name), "ext4-%d-%llu", FORMAT, (unsigned long long)bytes);
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && is_whole(fd, bytes))
		return take_fd(&fd);
	lock_fd = store_lock(name, err);
	if (lock_fd < 0)
		return lock_fd;
	/* Another may have made it meanwhile. */
	close_fd(&fd);
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && is_whole(fd, bytes))
		return take_fd(&fd);
	close_fd(&fd);
	ret = make_pristine(dir_fd, name, bytes, err);
	if (ret < 0)
		return error_prefix(err, ret, "%s/scratch", store_path());
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? error_set(err, errno, "open %s/scratch/%s", store_path(), name)
		      : take_fd(&fd);
}

/* File systems that cannot do it in the kernel are read and written. */
static int copy_range(int from_fd, int to_fd, off_t at, off_t end)
{
	char bytes[65536];
	ssize_t n = 0;

	while (at < end) {
		off_t in = at, out = at;

		n = copy_file_range(from_fd, &in, to_fd, &out, (size_t)(end - at), 0);
		if (n <= 0)
			break;
		at += n;
	}
	while (at < end) {
		size_t len = end - at < (off_t)sizeof(bytes) ? (size_t)(end - at) : sizeof(bytes);

		n = pread(from_fd, bytes, len, at);
		if (n > 0)
			n = pwrite(to_fd, bytes, (size_t)n, at);
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
	}
	return 0;
}

int copy_extents(int from_fd, int to_fd, uint64_t len)
{
	struct extent extent = {0};
	int ret;

	if (ioctl(to_fd, FICLONE, from_fd) == 0)
		return 0;
	if (ftruncate(to_fd, (off_t)len) < 0)
		return -errno;
	while ((ret = extent_next(from_fd, extent.end, (off_t)len, &extent)) > 0) {
		ret = copy_range(from_fd, to_fd, extent.start, extent.end);
		if (ret < 0)
			return ret;
	}
	return ret;
}

int scratch_make(uint64_t bytes, struct error *err)
{
	cleanup_fd int pristine_fd = open_pristine(bytes, err);
	cleanup_fd int fd = -1;
	int ret;

	if (pristine_fd < 0)
		return error_prefix(err, pristine_fd, "scratch disk");
	fd = store_unnamed(err);
	if (fd < 0)
		return error_prefix(err, fd, "scratch disk");
	ret = copy_extents(pristine_fd, fd, bytes);
	if (ret < 0)
		return error_set(err, -ret, "scratch disk: copy it in %s", store_path());
	return take_fd(&fd);
}

/* Of the file systems that an overlay can be written to, tmpfs alone cannot tell where data lies.
 */
static bool has_no_extents(int fd)
{
	struct fiemap map = {.fm_length = FIEMAP_MAX_OFFSET};

	return ioctl(fd, FS_IOC_FIEMAP, &map) < 0 && errno == EOPNOTSUPP;
}

uint64_t scratch_memory(int fd)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return 0;
	if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC ||
	    (fs.f_type == OVERLAYFS_SUPER_MAGIC && has_no_extents(fd)))
		return (uint64_t)st.st_size;
	return 0;
}

int scratch_parse_size(const char *text, uint64_t *bytes, struct error *err)
{
	static const char units[] = "KMGT";
	unsigned long long value;
	const char *unit;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end & ~0x20) : NULL;
	if (unit && *unit) {
		unsigned int shift = 10 * (unsigned int)(unit - units + 1);

		end++;
		if (value > UINT64_MAX >> shift)
			errno = ERANGE;
		value <<= shift;
	}
	if (errno || *text < '0' || *text > '9' || *end || value < SCRATCH_MIN_BYTES ||
	    value > SCRATCH_MAX_BYTES)
		return error_say(err, EINVAL, "\"%s\" is not a size from 16M to 16T", text);
	*bytes = value & ~4095ull;
	return 0;
}
