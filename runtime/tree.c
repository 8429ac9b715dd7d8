#include "runtime/tree.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRIES_SIZE (64u << 10)
#define NAME_MAX_LEN 254	 /* bytes that mkfs.erofs takes, before 1.6 */
#define SPARSE_MIN   (16u << 20) /* bytes of holes that are worth another way of storing them */

/* Directories still to be read, by their paths below the root; one is open at a time. */
struct walk {
	struct tree *tree;
	struct digest digest;
	uint64_t holes;
	char **waiting;
	size_t count, size;
	char *entries;
};

/* As it goes into the digest. */
struct identity {
	uint64_t inode, size, rdev, dev;
	int64_t ctime, mtime;
	uint32_t ctime_ns, mtime_ns;
	uint32_t mode, uid, gid, links;
};

static int add_waiting(struct walk *walk, char *path)
{
	if (walk->count == walk->size) {
		size_t size = walk->size ? walk->size * 2 : 256;
		char **more = realloc(walk->waiting, size * sizeof(*more));

		if (!more)
			return -ENOMEM;
		walk->waiting = more;
		walk->size = size;
	}
	walk->waiting[walk->count++] = path;
	return 0;
}

static void add_entry(struct walk *walk, const struct statx *st, const char *name)
{
	struct identity identity = {
		.inode = st->stx_ino,
		.size = S_ISDIR(st->stx_mode) ? 0 : st->stx_size,
		.rdev = (uint64_t)st->stx_rdev_major << 32 | st->stx_rdev_minor,
		.dev = (uint64_t)st->stx_dev_major << 32 | st->stx_dev_minor,
		.ctime = st->stx_ctime.tv_sec,
		.mtime = st->stx_mtime.tv_sec,
		.ctime_ns = st->stx_ctime.tv_nsec,
		.mtime_ns = st->stx_mtime.tv_nsec,
		.mode = st->stx_mode,
		.uid = st->stx_uid,
		.gid = st->stx_gid,
		.links = S_ISDIR(st->stx_mode) ? 0 : st->stx_nlink,
	};

	digest_add(&walk->digest, &identity, sizeof(identity));
	digest_add(&walk->digest, name, strlen(name) + 1);
	if (!S_ISREG(st->stx_mode))
		return;
	/* A file with several names is counted once they have all been seen. */
	walk->tree->bytes += st->stx_size / (st->stx_nlink ?: 1);
	if (st->stx_blocks * 512 + 4096 < st->stx_size)
		walk->holes += st->stx_size - st->stx_blocks * 512;
}

/* The name is one of dir_fd's own entries: there is no path in it to follow. */
static int read_entry(struct walk *walk, int dir_fd, const char *dir, const char *name)
{
	struct statx st;
	char *path;
	int ret;

	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	if (strlen(name) > NAME_MAX_LEN)
		return -E2BIG;
	if (statx(dir_fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &st) < 0)
		return -errno;
	walk->tree->entries++;
	add_entry(walk, &st, name);
	if (!S_ISDIR(st.stx_mode))
		return 0;
	path = *dir ? format("%s/%s", dir, name) : strdup(name);
	ret = path ? add_waiting(walk, path) : -ENOMEM;
	if (ret < 0)
		free(path);
	return ret;
}

struct directory_entry { /* linux_dirent64, getdents(2) */
	uint64_t inode;
	int64_t offset;
	uint16_t len;
	uint8_t type;
	char name[];
};

static int read_directory(struct walk *walk, int root_fd, const char *dir)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	cleanup_fd int fd = (int)syscall(SYS_openat2, root_fd, *dir ? dir : ".", &how, sizeof(how));
	long len;

	if (fd < 0)
		return -errno;
	/* Where one directory ends and the next begins is part of the identity. */
	digest_add(&walk->digest, dir, strlen(dir) + 1);
	while ((len = syscall(SYS_getdents64, fd, walk->entries, ENTRIES_SIZE)) > 0)
		for (long at = 0; at < len;) {
			struct directory_entry *entry = (void *)(walk->entries + at);
			int ret = read_entry(walk, fd, dir, entry->name);

			if (ret < 0)
				return ret;
			at += entry->len;
		}
	return len < 0 ? -errno : 0;
}

static int read_failed(struct error *err, int ret, const char *dir)
{
	if (ret == -ENAMETOOLONG)
		return error_say(err, -ret,
				 "directories nest too deeply: a path has over 4095 bytes");
	if (ret == -E2BIG)
		return error_say(err, -ret, "a name in %.200s has over %d bytes", dir,
				 NAME_MAX_LEN);
	return error_set(err, -ret, "read %.200s", dir);
}

static int walk_all(struct walk *walk, int dir_fd, struct error *err)
{
	struct statx st;
	int ret;

	if (statx(dir_fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) < 0)
		return error_set(err, errno, "stat");
	add_entry(walk, &st, "");
	ret = read_directory(walk, dir_fd, "");
	while (ret == 0 && walk->count > 0) {
		cleanup_free char *dir = walk->waiting[--walk->count];

		ret = read_directory(walk, dir_fd, dir);
		if (ret < 0)
			return read_failed(err, ret, dir);
	}
	return ret < 0 ? read_failed(err, ret, "it") : 0;
}

int tree_identify(int dir_fd, struct tree *out, struct error *err)
{
	struct walk walk = {.tree = out, .entries = malloc(ENTRIES_SIZE)};
	int ret;

	*out = (struct tree){0};
	digest_begin(&walk.digest);
	ret = walk.entries ? walk_all(&walk, dir_fd, err) : error_set(err, ENOMEM, "read it");
	digest_end(&walk.digest, out->digest);
	out->sparse = walk.holes >= SPARSE_MIN;
	while (walk.count > 0)
		free(walk.waiting[--walk.count]);
	free(walk.waiting);
	free(walk.entries);
	return ret;
}
