#include "runtime/layer_cache.h"
#include "runtime/file.h"
#include "runtime/layer_entry.h"
#include "runtime/store.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define USE_GRANULE 60 /* seconds: how exactly the time of the last use is kept */

void layer_close(struct layer *layer)
{
	close_fd(&layer->fd);
}

/* The directory's mtime is the time of the last use. */
static void note_use(int dir_fd)
{
	struct stat st;

	if (fstat(dir_fd, &st) == 0 && time(NULL) - st.st_mtime > USE_GRANULE)
		futimens(dir_fd, NULL);
}

static bool same_directory(int parent_fd, const char *name, int fd)
{
	struct stat is, was;

	return fstat(fd, &was) == 0 && fstatat(parent_fd, name, &is, AT_SYMLINK_NOFOLLOW) == 0 &&
	       is.st_ino == was.st_ino && is.st_dev == was.st_dev;
}

/* To have it gone for all who look for it; who reads it still has it. */
static int remove_entry(int layers_fd, const char *key)
{
	char gone[LAYER_KEY_MAX + 32];

	snprintf(gone, sizeof(gone), STORE_UNFINISHED "%s-gone-%d", key, getpid());
	if (renameat(layers_fd, key, layers_fd, gone) < 0)
		return -errno;
	return store_remove_directory(layers_fd, gone);
}

static int open_entry(int layers_fd, const char *key, struct layer *layer, struct error *err)
{
	cleanup_fd int dir_fd = openat(layers_fd, key,
				       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_fd int fd = -1;
	struct error why = {0};
	int ret;

	if (dir_fd < 0)
		return errno == ENOENT ? 0 : error_set(err, errno, "open layer %s", key);
	fd = openat(dir_fd, ENTRY_IMAGE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		return error_set(err, errno, "open layer %s", key);
	/* Others hold the exclusive lock for moments only. Still there after that: not evicted. */
	while (fd >= 0 && flock(fd, LOCK_SH) < 0)
		if (errno != EINTR)
			return error_set(err, errno, "lock layer %s", key);
	if (!same_directory(layers_fd, key, dir_fd))
		return 0;
	ret = fd < 0 ? -ENOENT : entry_check(dir_fd, fd, layer, &why);
	if (ret < 0) {
		log_warn("cache: layer %s is not used, and made again: %s", key,
			 fd < 0 ? "it has no image" : why.message);
		ret = remove_entry(layers_fd, key);
		return ret < 0 && ret != -ENOENT ? error_set(err, -ret, "remove layer %s", key) : 0;
	}
	note_use(dir_fd);
	snprintf(layer->key, sizeof(layer->key), "%s", key);
	layer->fd = take_fd(&fd);
	return 1;
}

int layer_open(struct layer *layer, const char *key, struct error *err)
{
	cleanup_fd int layers_fd = store_open("layers", err);

	return layers_fd < 0 ? layers_fd : open_entry(layers_fd, key, layer, err);
}

/* In a directory that is not yet an entry: the image, what is known of it, and all on the disk. */
static int fill_entry(int dir_fd, const char *source, layer_builder *build, void *ctx,
		      struct error *err)
{
	cleanup_fd int fd = openat(dir_fd, ENTRY_IMAGE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
				   0600);
	struct layer_seal seal = {0};
	int ret;

	if (fd < 0)
		return error_set(err, errno, "make " ENTRY_IMAGE);
	ret = build(ctx, fd, &seal, err);
	if (ret == 0 && (fchmod(fd, 0400) < 0 || fsync(fd) < 0))
		ret = error_set(err, errno, "write it to the disk");
	if (ret == 0)
		ret = entry_write(dir_fd, fd, source, &seal, err);
	if (ret == 0 && fsync(dir_fd) < 0)
		ret = error_set(err, errno, "write it to the disk");
	return ret;
}

/*
 * Makes a directory and locks it. Until it is locked, whoever tidies up takes it for one that was
 * left behind: then there is another.
 */
static int make_locked(int layers_fd, const char *name, struct error *err)
{
	for (;;) {
		cleanup_fd int fd = -1;

		if (mkdirat(layers_fd, name, 0700) < 0)
			return error_set(err, errno, "mkdir");
		fd = openat(layers_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0 || flock(fd, LOCK_EX) < 0)
			return error_set(err, errno, "open it");
		if (same_directory(layers_fd, name, fd))
			return take_fd(&fd);
	}
}

static int make_entry(int layers_fd, const char *key, const char *source, layer_builder *build,
		      void *ctx, struct error *err)
{
	char unfinished[LAYER_KEY_MAX + 32];
	cleanup_fd int dir_fd = -1;
	int ret;

	snprintf(unfinished, sizeof(unfinished), STORE_UNFINISHED "%s-%d", key, getpid());
	dir_fd = make_locked(layers_fd, unfinished, err);
	ret = dir_fd < 0 ? dir_fd : fill_entry(dir_fd, source, build, ctx, err);
	if (ret == 0 &&
	    (renameat(layers_fd, unfinished, layers_fd, key) < 0 || fsync(layers_fd) < 0))
		ret = error_set(err, errno, "rename it");
	if (ret < 0)
		store_remove_directory(layers_fd, unfinished);
	return ret;
}

int layer_make(struct layer *layer, const char *key, const char *source, layer_builder *build,
	       void *ctx, struct error *err)
{
	cleanup_fd int layers_fd = store_open("layers", err);
	cleanup_fd int lock_fd = -1;
	int ret;

	if (layers_fd < 0)
		return layers_fd;
	ret = open_entry(layers_fd, key, layer, err);
	if (ret != 0)
		return ret < 0 ? ret : 0;
	lock_fd = store_lock(key, err);
	if (lock_fd < 0)
		return lock_fd;
	/* Another may have made it meanwhile. */
	ret = open_entry(layers_fd, key, layer, err);
	if (ret != 0)
		return ret < 0 ? ret : 0;
	store_remove_unfinished(layers_fd);
	ret = make_entry(layers_fd, key, source, build, ctx, err);
	if (ret == 0)
		ret = open_entry(layers_fd, key, layer, err);
	if (ret == 0)
		return error_say(err, EIO, "%s/layers: an image was gone as soon as it was made",
				 store_path());
	if (ret < 0)
		return error_prefix(err, ret, "make an image in %s/layers", store_path());
	return layer_evict(store_limit(), NULL, NULL, NULL), 0;
}

static void read_entry(int layers_fd, const char *key, struct layer_entry *out)
{
	cleanup_fd int dir_fd = openat(layers_fd, key, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int fd = openat(dir_fd, ENTRY_IMAGE, O_RDONLY | O_CLOEXEC);
	struct layer_seal seal = {0};
	struct stat st;

	snprintf(out->key, sizeof(out->key), "%s", key);
	if (fstat(dir_fd, &st) == 0)
		out->last_used = st.st_mtime;
	if (fd >= 0 && fstat(fd, &st) == 0) {
		out->size = (uint64_t)st.st_blocks * 512;
		out->in_use = flock(fd, LOCK_EX | LOCK_NB) < 0;
	}
	out->source = entry_source(dir_fd, &seal);
	out->sealed = seal.data_blocks > 0;
}

static int older_first(const void *a, const void *b)
{
	const struct layer_entry *one = a, *other = b;

	if (one->last_used != other->last_used)
		return one->last_used < other->last_used ? -1 : 1;
	return strcmp(one->key, other->key);
}

ssize_t layer_list(struct layer_entry **out, struct error *err)
{
	int layers_fd = store_open("layers", err);
	cleanup_dir DIR *dir = layers_fd < 0 ? NULL : fdopendir(layers_fd);
	struct layer_entry *entries = NULL;
	size_t count = 0, size = 0;
	struct dirent *entry;

	if (layers_fd < 0)
		return layers_fd;
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= LAYER_KEY_MAX)
			continue;
		if (count == size) {
			struct layer_entry *more =
				realloc(entries, (size = size ? size * 2 : 64) * sizeof(*entries));

			if (!more) {
				layer_list_free(entries, count);
				return error_set(err, ENOMEM, "list the layers");
			}
			entries = more;
		}
		entries[count] = (struct layer_entry){0};
		read_entry(layers_fd, entry->d_name, &entries[count++]);
	}
	if (count > 0)
		qsort(entries, count, sizeof(*entries), older_first);
	*out = entries;
	return (ssize_t)count;
}

void layer_list_free(struct layer_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(entries[i].source);
	free(entries);
}

int layer_remove(const char *key, struct error *err)
{
	cleanup_fd int layers_fd = store_open("layers", err);
	cleanup_free char *image = format("%s/" ENTRY_IMAGE, key);
	cleanup_fd int fd = -1;
	int ret;

	if (layers_fd < 0)
		return layers_fd;
	if (!image)
		return error_set(err, ENOMEM, "remove layer %s", key);
	fd = openat(layers_fd, image, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	/* Held until it is gone: who opens it meanwhile finds the lock, and makes another. */
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
		return error_say(err, EBUSY, "layer %s is in use", key);
	ret = remove_entry(layers_fd, key);
	return ret < 0 ? error_set(err, -ret, "remove layer %s", key) : 0;
}

int layer_evict(uint64_t max, uint64_t *freed, uint64_t *left, struct error *err)
{
	struct layer_entry *entries;
	ssize_t count = layer_list(&entries, err);
	uint64_t total = 0, gone = 0;

	if (count < 0)
		return (int)count;
	for (ssize_t i = 0; i < count; i++)
		total += entries[i].size;
	for (ssize_t i = 0; i < count && total > max; i++) {
		if (entries[i].in_use || layer_remove(entries[i].key, NULL) < 0)
			continue;
		total -= entries[i].size;
		gone += entries[i].size;
	}
	layer_list_free(entries, (size_t)count);
	if (freed)
		*freed = gone;
	if (left)
		*left = total;
	return 0;
}

int layer_verify(const char *key, struct error *err)
{
	cleanup_fd int layers_fd = store_open("layers", err);
	cleanup_fd int dir_fd = -1;
	cleanup_fd int fd = -1;

	if (layers_fd < 0)
		return layers_fd;
	dir_fd = openat(layers_fd, key, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir_fd < 0)
		return error_set(err, errno, "open layer %s", key);
	fd = openat(dir_fd, ENTRY_IMAGE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno == ENOENT ? EUCLEAN : errno, "open layer %s", key);
	return entry_verify(dir_fd, fd, err);
}
