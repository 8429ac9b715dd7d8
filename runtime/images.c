#include "runtime/images.h"
#include "runtime/file.h"
#include "runtime/image_store.h"
#include "runtime/layer_build.h"
#include "runtime/overlay.h"
#include "runtime/scratch.h"
#include "runtime/store.h"

#include "common/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct image_layer *images_add_layer(struct images *images, int dir_fd, const char *path,
				     struct error *err)
{
	struct image_layer *more;
	char *copy = strdup(path);

	if (images->count == IMAGES_LAYERS_MAX) {
		error_say(err, E2BIG, "the root has more than %d layers", IMAGES_LAYERS_MAX);
		free(copy);
		return NULL;
	}
	more = realloc(images->layers, (images->count + 1) * sizeof(*more));
	if (more)
		images->layers = more;
	if (!more || !copy) {
		error_set(err, ENOMEM, "layers");
		free(copy);
		return NULL;
	}
	more += images->count++;
	*more = (struct image_layer){.layer = LAYER_INIT, .dir_fd = dir_fd, .path = copy};
	return more;
}

/* Takes dir_fd. */
static int add_directory(struct images *images, int dir_fd, const char *path, bool quick,
			 struct error *err)
{
	struct image_layer *layer = images_add_layer(images, dir_fd, path, err);
	struct layer_directory from = {.dir_fd = dir_fd, .path = path, .sealed = images->sealed};
	int ret;

	if (!layer) {
		close(dir_fd);
		return -err->code;
	}
	ret = quick ? layer_recall(&layer->layer, &from, err) : 0;
	if (ret != 0)
		return ret < 0 ? ret : 0;
	ret = layer_of_directory(&layer->layer, &from, err);
	close_fd(&layer->dir_fd);
	return ret;
}

static bool is_empty(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int count = 0;

	while (dir && (entry = readdir(dir)) && count <= 2)
		count++;
	return dir && count <= 2;
}

/*
 * What the engine has put on top for this one container: mount points, what was copied in. An image
 * of it is of no use to others, so it is a file without a name.
 */
static int add_upper(struct images *images, const struct overlay *overlay, struct error *err)
{
	cleanup_fd int dir_fd = overlay_open(overlay, overlay->upper);
	struct layer_directory from = {.dir_fd = dir_fd, .path = overlay->upper};
	struct image_layer *layer;
	struct stat st;
	int ret;

	if (dir_fd < 0)
		return error_set(err, -dir_fd, "open %s", overlay->upper);
	if (is_empty(dir_fd))
		return 0;
	layer = images_add_layer(images, -1, overlay->upper, err);
	if (!layer)
		return -err->code;
	layer->layer.fd = store_unnamed(err);
	if (layer->layer.fd < 0)
		return layer->layer.fd;
	ret = layer_write(layer->layer.fd, &from, NULL, err);
	if (ret < 0)
		return error_prefix(err, ret, "make an image of %s", overlay->upper);
	if (fstat(layer->layer.fd, &st) < 0)
		return error_set(err, errno, "stat");
	layer->layer.size = (uint64_t)st.st_size;
	return 0;
}

/* Returns 1, or 0 when the layers cannot be had one by one. */
static int add_overlay(struct images *images, const struct overlay *overlay, bool quick,
		       struct error *err)
{
	int *fds = calloc(overlay->count, sizeof(*fds));
	size_t count = 0;
	int ret = fds ? 1 : error_set(err, ENOMEM, "layers");

	/* One place is the upper directory's. */
	if (overlay->count >= IMAGES_LAYERS_MAX)
		ret = 0;

	while (ret > 0 && count < overlay->count) {
		fds[count] = overlay_open(overlay, overlay->lower[count]);
		if (fds[count] < 0)
			ret = 0;
		else
			count++;
	}
	if (ret > 0 && overlay->upper && !images->upper_shared)
		ret = add_upper(images, overlay, err) < 0 ? -err->code : 1;
	for (size_t i = 0; i < count; i++) {
		if (ret <= 0)
			close(fds[i]);
		else if (add_directory(images, fds[i], overlay->lower[i], quick, err) < 0)
			ret = -err->code;
	}
	free(fds);
	images->metacopy = overlay->metacopy;
	images->userxattr = overlay->userxattr;
	return ret;
}

static int add_layers(struct images *images, const struct bundle *bundle, bool quick,
		      struct error *err)
{
	cleanup_overlay struct overlay overlay = {0};
	int ret = overlay_find(bundle->rootfs_fd, &overlay, err);
	int fd;

	if (ret > 0)
		ret = add_overlay(images, &overlay, quick, err);
	if (ret != 0)
		return ret < 0 ? ret : 0;
	/* A directory, or an overlay that only the host can put together. */
	images->metacopy = images->userxattr = false;
	fd = openat(bundle->rootfs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "root.path: open %s", bundle->rootfs);
	return add_directory(images, fd, bundle->rootfs, quick, err);
}

static int add_scratch(struct images *images, const struct bundle *bundle,
		       const struct settings *settings, struct error *err)
{
	const char *size = settings_text(settings, "scratch-size");
	uint64_t bytes = SCRATCH_DEFAULT_BYTES;
	int ret = size ? scratch_parse_size(size, &bytes, err) : 0;

	if (ret < 0)
		return error_prefix(err, ret, "scratch-size");
	if (images->upper_shared || json_is_true(json_at(bundle->config, "root", "readonly", NULL)))
		return 0;
	images->scratch_fd = scratch_make(bytes, err);
	return images->scratch_fd < 0 ? images->scratch_fd : 0;
}

int images_make(struct images *images, const struct bundle *bundle, const struct settings *settings,
		const struct shared_root *root, bool quick, struct error *err)
{
	const char *seal = settings_text(settings, "seal");
	const char *image = settings_text(settings, "image");
	int ret;

	images->upper_shared = shared_root_used(root);
	/* The scratch disk first: what is wrong with it is found at once. */
	ret = add_scratch(images, bundle, settings, err);
	images->sealed = seal && !strcmp(seal, "verity");
	if (ret < 0)
		return ret;
	return image ? image_add_layers(images, image, err)
		     : add_layers(images, bundle, quick, err);
}

int images_confirm(struct images *images, struct error *err)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < images->count; i++) {
		struct image_layer *layer = &images->layers[i];
		struct layer_directory from = {
			.dir_fd = layer->dir_fd, .path = layer->path, .sealed = images->sealed};

		if (layer->dir_fd < 0)
			continue;
		ret = layer_confirm(&layer->layer, &from, err);
		close_fd(&layer->dir_fd);
	}
	return ret;
}

static json_t *describe_layer(const struct layer *layer, uint64_t offset)
{
	json_t *part = json_pack("{s:s, s:I, s:I}", "device", "/dev/vda", "offset",
				 (json_int_t)offset, "size", (json_int_t)layer->size);

	if (part && layer->seal.data_blocks)
		json_object_set_new(part, "seal",
				    json_pack("{s:s, s:s, s:I}", "rootHash", layer->seal.root_hash,
					      "salt", layer->seal.salt, "dataBlocks",
					      (json_int_t)layer->seal.data_blocks));
	return part;
}

json_t *images_describe(const struct images *images)
{
	json_t *lower = json_array();
	json_t *rootfs = json_pack("{s:o}", "lower", lower);
	uint64_t offset = 0;

	/* A single layer is the disk. */
	if (images->count == 1 && !images->layers[0].layer.seal.data_blocks)
		json_array_append_new(lower, json_string("/dev/vda"));
	else
		for (size_t i = 0; i < images->count; i++) {
			json_array_append_new(lower,
					      describe_layer(&images->layers[i].layer, offset));
			offset += images->layers[i].layer.size;
		}
	if (images->scratch_fd >= 0)
		json_object_set_new(rootfs, "scratch", json_string("/dev/vdb"));
	if (images->metacopy)
		json_object_set_new(rootfs, "metacopy", json_true());
	if (images->userxattr)
		json_object_set_new(rootfs, "userxattr", json_true());
	return rootfs;
}

void images_destroy(struct images *images)
{
	for (size_t i = 0; i < images->count; i++) {
		layer_close(&images->layers[i].layer);
		close_fd(&images->layers[i].dir_fd);
		free(images->layers[i].path);
	}
	free(images->layers);
	close_fd(&images->scratch_fd);
	*images = (struct images)IMAGES_INIT;
}
