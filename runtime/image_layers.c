/* Layers of pulled images: each blob becomes a layer image of the cache, called by its digest. */
#include "runtime/file.h"
#include "runtime/image_store.h"
#include "runtime/layer_build.h"
#include "runtime/seal.h"
#include "runtime/store.h"
#include "runtime/tool.h"
#include "runtime/vmm_files.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Counted up when the way layers are unpacked changes what is in them. */
#define FORMAT "blob2-"
#define SEALED "blobseal2-"

struct build {
	const struct oci_blob *blob;
	const char *name; /* for the progress */
	bool sealed;
};

static int check_blob(int fd, const struct oci_blob *blob, struct error *err)
{
	char hex[DIGEST_HEX + 1];
	off_t len;
	int ret = digest_file(fd, hex, &len);

	if (ret < 0)
		return error_set(err, -ret, "read blob %s", blob->digest);
	if (strcmp(hex, blob->digest) != 0)
		return error_say(err, EUCLEAN, "blob %s is damaged: pull the image again",
				 blob->digest);
	return 0;
}

/* A layer that is more than that could not be kept, or would be there twice without the room. */
static uint64_t unpack_limit(const char *dir)
{
	struct statvfs fs;
	uint64_t room = UINT64_MAX;

	if (statvfs(dir, &fs) == 0)
		room = (uint64_t)fs.f_bavail * fs.f_frsize / 2;
	return room < store_limit() ? room : store_limit();
}

/* bulkhead-unpack, beside us or installed: it confines itself to dir. */
static int unpack(int blob_fd, const char *dir, struct error *err)
{
	cleanup_free char *program = vmm_find_program("bulkhead-unpack");
	cleanup_free char *mib = format("%llu", (unsigned long long)unpack_limit(dir) >> 20);
	char *argv[] = {program, (char *)dir, mib, NULL};

	if (!program)
		return error_say(err, ENOENT, "bulkhead-unpack is missing: run make");
	if (lseek(blob_fd, 0, SEEK_SET) < 0)
		return error_set(err, errno, "read the layer");
	return tool_run_input(argv, blob_fd, "bulkhead", err);
}

/* The unpacked tree is no more than a step, in a directory that is found again after a crash. */
static int build_in(const char *dir, int blob_fd, int fd, const struct build *build,
		    struct error *err)
{
	cleanup_fd int dir_fd = -1;
	struct layer_directory from = {.path = build->name};
	struct tree tree;
	int ret = unpack(blob_fd, dir, err);

	if (ret < 0)
		return ret;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return error_set(err, errno, "open %s", dir);
	from.dir_fd = dir_fd;
	ret = tree_identify(dir_fd, &tree, err);
	return ret < 0 ? ret : layer_write(fd, &from, &tree, err);
}

static int build(void *ctx, int fd, struct layer_seal *seal, struct error *err)
{
	const struct build *build = ctx;
	cleanup_fd int blobs_fd = store_open("images/blobs/sha256", err);
	cleanup_fd int unpack_fd = store_open("unpack", err);
	cleanup_fd int blob_fd = -1, dir_fd = -1;
	cleanup_free char *name = format(STORE_UNFINISHED "%s-%d", build->blob->digest, getpid());
	cleanup_free char *dir = name ? format("%s/unpack/%s", store_path(), name) : NULL;
	char *rm[] = {"rm", "-rf", dir, NULL};
	int ret;

	if (blobs_fd < 0 || unpack_fd < 0 || !dir)
		return error_set(err, ENOMEM, "unpack");
	blob_fd = openat(blobs_fd, build->blob->digest, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (blob_fd < 0)
		return error_set(err, errno, "open blob %s", build->blob->digest);
	ret = check_blob(blob_fd, build->blob, err);
	if (ret < 0)
		return ret;
	store_remove_unfinished(unpack_fd);
	if (mkdirat(unpack_fd, name, 0755) < 0)
		return error_set(err, errno, "mkdir %s", dir);
	dir_fd = openat(unpack_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0 || flock(dir_fd, LOCK_EX) < 0)
		ret = error_set(err, errno, "open %s", dir);
	if (ret == 0)
		ret = build_in(dir, blob_fd, fd, build, err);
	tool_run(rm, NULL, "coreutils", NULL);
	if (ret == 0 && build->sealed)
		ret = seal_image(fd, seal, err);
	return ret;
}

int image_add_layers(struct images *images, const char *name, struct error *err)
{
	struct oci_manifest *manifest = malloc(sizeof(*manifest));
	int ret = manifest ? image_find(name, manifest, err) : error_set(err, ENOMEM, "image");

	for (size_t i = ret == 0 ? manifest->count : 0; ret == 0 && i > 0; i--) {
		struct build ctx = {.blob = &manifest->layers[i - 1], .sealed = images->sealed};
		cleanup_free char *what = format("layer %zu of %zu of %s", i, manifest->count,
						 name);
		struct image_layer *layer = images_add_layer(images, -1, name, err);
		char key[LAYER_KEY_MAX];

		ctx.name = what ? what : name;
		snprintf(key, sizeof(key), "%s%s", ctx.sealed ? SEALED : FORMAT, ctx.blob->digest);
		ret = layer ? layer_make(&layer->layer, key, ctx.name, build, &ctx, err)
			    : -err->code;
		ret = error_prefix(err, ret, "image %s", name);
	}
	free(manifest);
	return ret;
}
