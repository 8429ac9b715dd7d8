/*
 * bulkhead-unpack DIR [MIB]: a layer of an OCI image (a tar archive, also compressed, on stdin)
 * into an empty directory, in the form that overlayfs reads, if it takes no more than MIB there.
 * The archive is hostile, so this is a program of its own: it moves into the directory as its root
 * before it reads the first byte, so that no name leads elsewhere, and what it links cannot be
 * turned against the runtime.
 *
 * Whiteouts (OCI image specification, layer.md) become devices 0/0, opaque directories their
 * attribute. Names with "..", attributes of overlayfs's own and everything through a symbolic link
 * of the archive itself are refused or left out.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define WHITEOUT	".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define BLOCK		(64u << 10)
#define ENTRY_COST	4096u /* bytes that any entry takes at least */

static uint64_t limit = UINT64_MAX, taken; /* bytes */

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "bulkhead-unpack: %.200s: %s\n", what, why);
	return 1;
}

/* The directory becomes all there is: a root of its own, then no more rights than unpacking takes.
 */
static int confine(const char *dir)
{
	struct rlimit none = {0, 0};

	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || chroot(dir) < 0 ||
	    chdir("/") < 0)
		return fail(dir, strerror(errno));
	setrlimit(RLIMIT_CORE, &none);
	umask(0);
	return 0;
}

/* "./a//b/" and "/a/b" are a/b. NULL for a name that leads upwards, "" for the directory itself. */
static char *clean_name(const char *name)
{
	char *out = malloc(strlen(name) + 1);
	char *to = out;

	while (out && *name) {
		size_t len = strcspn(name, "/");

		if (len == 2 && name[0] == '.' && name[1] == '.') {
			free(out);
			return NULL;
		}
		if (len > 0 && !(len == 1 && *name == '.')) {
			if (to > out)
				*to++ = '/';
			memcpy(to, name, len);
			to += len;
		}
		name += len + (name[len] == '/');
	}
	if (out)
		*to = '\0';
	return out;
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static int make_opaque(const char *path)
{
	return lsetxattr(path, "trusted.overlay.opaque", "y", 1, 0) < 0
		       ? fail(path, strerror(errno))
		       : 0;
}

/* Returns 1 for a directory, or what has become one, 0 for all else, -1 when that failed. */
static int uncover_one(const char *path)
{
	struct stat st;

	/* Links, and what is not there yet, are for libarchive to judge. */
	if (lstat(path, &st) < 0 || (!S_ISDIR(st.st_mode) && !is_whiteout(&st)))
		return 0;
	if (S_ISDIR(st.st_mode))
		return 1;
	if (unlink(path) < 0 || mkdir(path, 0755) < 0) {
		fail(path, strerror(errno));
		return -1;
	}
	return make_opaque(path) == 0 ? 1 : -1;
}

/*
 * A whiteout is of the layers below alone: where this layer has a directory of that name as well,
 * what is below that is gone. So a directory, or one that an entry is in, takes its place.
 */
static int uncover(char *path, bool is_dir)
{
	int ret = 1;

	for (char *slash = strchr(path, '/'); ret > 0 && slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		ret = uncover_one(path);
		*slash = '/';
	}
	if (ret > 0 && is_dir && *path)
		ret = uncover_one(path);
	return ret < 0;
}

/* What it is a whiteout of is for the kernel to know; others of that prefix are aufs's
 * book-keeping. */
static int make_whiteout(struct archive *disk, struct archive_entry *entry, char *path, char *base)
{
	struct stat st;

	if (!strcmp(base, WHITEOUT_OPAQUE)) {
		*base = '\0';
		archive_entry_set_pathname(entry, *path ? path : ".");
		/* The directory may have its own entry later, which leaves attributes alone. */
		if (*path && mkdir(path, 0755) < 0 && errno != EEXIST)
			return fail(path, strerror(errno));
		return make_opaque(*path ? path : ".");
	}
	if (!strncmp(base + strlen(WHITEOUT), WHITEOUT, strlen(WHITEOUT)))
		return 0;
	memmove(base, base + strlen(WHITEOUT), strlen(base + strlen(WHITEOUT)) + 1);
	if (!*base || !strcmp(base, ".") || !strcmp(base, ".."))
		return fail(path, "a whiteout of nothing");
	/* This layer's own came before. */
	if (lstat(path, &st) == 0 && !is_whiteout(&st))
		return S_ISDIR(st.st_mode) ? make_opaque(path) : 0;
	archive_entry_set_pathname(entry, path);
	archive_entry_set_hardlink(entry, NULL);
	archive_entry_set_filetype(entry, AE_IFCHR);
	archive_entry_set_perm(entry, 0);
	archive_entry_set_rdev(entry, makedev(0, 0));
	archive_entry_set_size(entry, 0);
	archive_entry_xattr_clear(entry);
	archive_entry_acl_clear(entry);
	if (archive_write_header(disk, entry) < ARCHIVE_WARN)
		return fail(path, archive_error_string(disk));
	return 0;
}

/* Attributes that only the host's kernel and overlayfs give a meaning to are not the image's to
 * set. */
static void filter_attributes(struct archive_entry *entry)
{
	struct archive_entry *kept = archive_entry_new();
	const char *name;
	const void *value;
	size_t size;

	archive_entry_xattr_reset(entry);
	while (kept && archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
		if (name && strncmp(name, "trusted.", 8) != 0)
			archive_entry_xattr_add_entry(kept, name, value, size);
	archive_entry_xattr_clear(entry);
	archive_entry_xattr_reset(kept);
	while (kept && archive_entry_xattr_next(kept, &name, &value, &size) == ARCHIVE_OK)
		archive_entry_xattr_add_entry(entry, name, value, size);
	archive_entry_free(kept);
}

static int copy_data(struct archive *from, struct archive *disk, const char *path)
{
	const void *bytes;
	size_t len;
	la_int64_t offset;
	int ret;

	while ((ret = archive_read_data_block(from, &bytes, &len, &offset)) == ARCHIVE_OK)
		if (archive_write_data_block(disk, bytes, len, offset) < ARCHIVE_OK)
			return fail(path, archive_error_string(disk));
	return ret == ARCHIVE_EOF ? 0 : fail(path, archive_error_string(from));
}

static int write_entry(struct archive *from, struct archive *disk, struct archive_entry *entry,
		       const char *path)
{
	const char *link = archive_entry_hardlink(entry);
	char *target = link ? clean_name(link) : NULL;
	int ret = 0;

	if (link && !target)
		return fail(path, "hard link to a name with \"..\"");
	archive_entry_set_pathname(entry, *path ? path : ".");
	if (link)
		archive_entry_set_hardlink(entry, target);
	free(target);
	filter_attributes(entry);
	if (archive_write_header(disk, entry) < ARCHIVE_WARN)
		return fail(path, archive_error_string(disk));
	if (archive_entry_size(entry) > 0)
		ret = copy_data(from, disk, path);
	if (ret == 0 && archive_write_finish_entry(disk) < ARCHIVE_WARN)
		ret = fail(path, archive_error_string(disk));
	return ret;
}

/*
 * Some hundred bytes can expand to any amount of them. What an entry says of its size is all that
 * is read of it, and holes count: mkfs.erofs reads them too.
 */
static int spend(struct archive_entry *entry)
{
	uint64_t bytes = ENTRY_COST;
	const char *name;
	const void *value;
	size_t size;

	if (archive_entry_size(entry) > 0)
		bytes += (uint64_t)archive_entry_size(entry);
	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
		bytes += size;
	if (bytes <= limit - taken) {
		taken += bytes;
		return 0;
	}
	fprintf(stderr,
		"bulkhead-unpack: the layer expands to more than %llu MiB: cache-size, or half of "
		"what the disk has free, allows no more\n",
		(unsigned long long)limit >> 20);
	return 1;
}

static int take_entry(struct archive *from, struct archive *disk, struct archive_entry *entry)
{
	const char *name = archive_entry_pathname(entry);
	char *path = name ? clean_name(name) : NULL;
	char *base;
	int ret;

	if (!path)
		return fail(name ? name : "?", "a name with \"..\", or none");
	if (spend(entry) != 0 || uncover(path, archive_entry_filetype(entry) == AE_IFDIR) != 0) {
		free(path);
		return 1;
	}
	base = strrchr(path, '/');
	base = base ? base + 1 : path;
	if (!strncmp(base, WHITEOUT, strlen(WHITEOUT)))
		ret = make_whiteout(disk, entry, path, base);
	else
		ret = write_entry(from, disk, entry, path);
	free(path);
	return ret;
}

static int unpack(struct archive *from, struct archive *disk)
{
	struct archive_entry *entry;
	int ret;

	/* What images use, and nothing that libarchive would start a program for. */
	archive_read_support_filter_gzip(from);
	archive_read_support_filter_zstd(from);
	archive_read_support_filter_xz(from);
	archive_read_support_filter_bzip2(from);
	archive_read_support_format_tar(from);
	archive_read_support_format_empty(from);
	archive_write_disk_set_options(
		disk, ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
			      ARCHIVE_EXTRACT_ACL | ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_UNLINK |
			      ARCHIVE_EXTRACT_SECURE_SYMLINKS | ARCHIVE_EXTRACT_SECURE_NODOTDOT);
	if (archive_read_open_fd(from, STDIN_FILENO, BLOCK) != ARCHIVE_OK)
		return fail("layer", archive_error_string(from));
	while ((ret = archive_read_next_header(from, &entry)) == ARCHIVE_OK || ret == ARCHIVE_WARN)
		if (take_entry(from, disk, entry) != 0)
			return 1;
	if (ret != ARCHIVE_EOF)
		return fail("layer", archive_error_string(from));
	/* Modes and times of directories are set at the end. */
	if (archive_write_close(disk) != ARCHIVE_OK)
		return fail("layer", archive_error_string(disk));
	return 0;
}

int main(int argc, char **argv)
{
	struct archive *from, *disk;

	if (argc != 2 && argc != 3)
		return fail("usage", "bulkhead-unpack DIR [MIB] <LAYER");
	if (argc == 3)
		limit = strtoull(argv[2], NULL, 10) << 20;
	from = archive_read_new();
	disk = archive_write_disk_new();
	if (!from || !disk)
		return fail("layer", "out of memory");
	return confine(argv[1]) != 0 || unpack(from, disk) != 0;
}
