#include "runtime/layer_build.h"
#include "runtime/file.h"
#include "runtime/progress.h"
#include "runtime/seal.h"
#include "runtime/store.h"
#include "runtime/tool.h"

#include "common/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Counted up when the way images are made changes what is in them. */
#define FORMAT	"tree1-"
#define SEALED	"seal1-"
#define KEY_LEN (sizeof(FORMAT) - 1 + DIGEST_HEX)
#define TRIES	3 /* of a tree that changes while it is read */

static void make_key(char key[LAYER_KEY_MAX], const struct layer_directory *from,
		     const struct tree *tree)
{
	snprintf(key, LAYER_KEY_MAX, "%s%s", from->sealed ? SEALED : FORMAT, tree->digest);
}

/* --- mkfs.erofs --- */

/* It says nothing while it works; the file's length is how far it is. */
static void show_progress(const struct tool *tool, int fd, const char *what, uint64_t total)
{
	struct pollfd said = {.fd = tool->output_fd, .events = POLLIN};
	struct stat st;

	while (poll(&said, 1, 100) == 0)
		if (fstat(fd, &st) == 0)
			progress_show(what, (uint64_t)st.st_blocks * 512, total);
	progress_end();
}

int layer_write(int fd, const struct layer_directory *from, const struct tree *tree,
		struct error *err)
{
	char image[32], source[32], what[128];
	char *argv[6] = {"mkfs.erofs", "--quiet"};
	int argc = 2, ret;
	struct tool tool;

	/*
	 * Uncompressed is made three times as fast, and read without a CPU's help; holes, which it
	 * would fill, are what compression is for (docs/storage.md).
	 */
	if (tree && tree->sparse)
		argv[argc++] = "-zlz4";
	snprintf(image, sizeof(image), "/proc/self/fd/%d", fd);
	snprintf(source, sizeof(source), "/proc/self/fd/%d", from->dir_fd);
	snprintf(what, sizeof(what), "image of %s", from->path);
	argv[argc++] = image;
	argv[argc++] = source;
	argv[argc] = NULL;
	ret = tool_start(&tool, argv, (const int[]){fd, from->dir_fd, -1}, "erofs-utils", err);
	if (ret < 0)
		return ret;
	show_progress(&tool, fd, what, tree && !tree->sparse ? tree->bytes : 0);
	return tool_finish(&tool, err);
}

/* --- from a tree's identity to its layer --- */

struct build {
	const struct layer_directory *from;
	const struct tree *tree;
};

/* What was read must be what was identified: so it is identified again. */
static int build(void *ctx, int fd, struct layer_seal *seal, struct error *err)
{
	const struct build *build = ctx;
	struct tree after;
	int ret = layer_write(fd, build->from, build->tree, err);

	if (ret == 0)
		ret = tree_identify(build->from->dir_fd, &after, err);
	/* There is a tree. NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
	if (ret == 0 && strcmp(after.digest, build->tree->digest) != 0)
		ret = error_say(err, ESTALE, "%s changes while it is read", build->from->path);
	if (ret == 0 && build->from->sealed)
		ret = seal_image(fd, seal, err);
	return ret;
}

static int identify(const struct layer_directory *from, struct tree *tree, struct error *err)
{
	return error_prefix(err, tree_identify(from->dir_fd, tree, err), "%s", from->path);
}

/* --- what was known before: STORE/roots/INODE holds a key --- */

static int recall_name(const struct layer_directory *from, char name[DIGEST_HEX + 1])
{
	struct digest digest;
	struct statx st;
	uint64_t known[10];

	if (statx(from->dir_fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
		return -errno;
	known[0] = (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor;
	known[1] = st.stx_ino;
	known[2] = (uint64_t)st.stx_ctime.tv_sec;
	known[3] = st.stx_ctime.tv_nsec;
	known[4] = (uint64_t)st.stx_mtime.tv_sec;
	known[5] = st.stx_mtime.tv_nsec;
	known[6] = st.stx_mask & STATX_BTIME ? (uint64_t)st.stx_btime.tv_sec : 0;
	known[7] = st.stx_mask & STATX_BTIME ? st.stx_btime.tv_nsec : 0;
	known[8] = from->sealed;
	/* In a user namespace the same tree has other owners. */
	known[9] = (uint64_t)st.stx_uid << 32 | st.stx_gid;
	digest_begin(&digest);
	digest_add(&digest, known, sizeof(known));
	digest_end(&digest, name);
	return 0;
}

static void remember(const struct layer_directory *from, const char *key)
{
	cleanup_fd int roots_fd = store_open("roots", NULL);
	char name[DIGEST_HEX + 1];

	if (roots_fd >= 0 && recall_name(from, name) == 0)
		file_replace(roots_fd, name, 0600, key, strlen(key), NULL);
}

static bool is_key(const char *text, size_t len)
{
	return len == KEY_LEN &&
	       (!strncmp(text, FORMAT, strlen(FORMAT)) || !strncmp(text, SEALED, strlen(SEALED))) &&
	       strspn(text + strlen(FORMAT), "0123456789abcdef") == DIGEST_HEX;
}

int layer_recall(struct layer *layer, const struct layer_directory *from, struct error *err)
{
	cleanup_fd int roots_fd = store_open("roots", err);
	cleanup_free char *key = NULL;
	char name[DIGEST_HEX + 1];
	ssize_t len;

	if (roots_fd < 0)
		return roots_fd;
	if (recall_name(from, name) < 0)
		return 0;
	len = file_read(roots_fd, name, LAYER_KEY_MAX, &key, NULL);
	return len > 0 && is_key(key, (size_t)len) ? layer_open(layer, key, err) : 0;
}

void layer_recall_clean(void)
{
	int roots_fd = store_open("roots", NULL);
	cleanup_dir DIR *dir = roots_fd < 0 ? NULL : fdopendir(roots_fd);
	cleanup_fd int layers_fd = store_open("layers", NULL);
	struct dirent *entry;

	while (dir && layers_fd >= 0 && (entry = readdir(dir))) {
		cleanup_free char *key = NULL;
		ssize_t len;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		len = file_read(roots_fd, entry->d_name, LAYER_KEY_MAX, &key, NULL);
		if (len < 0 || !is_key(key, (size_t)len) || faccessat(layers_fd, key, F_OK, 0) < 0)
			unlinkat(roots_fd, entry->d_name, 0);
	}
}

int layer_of_directory(struct layer *layer, const struct layer_directory *from, struct error *err)
{
	char key[LAYER_KEY_MAX];
	struct tree tree;
	struct build ctx = {.from = from, .tree = &tree};
	int ret = -ESTALE;

	for (int i = 0; ret == -ESTALE && i < TRIES; i++) {
		error_clear(err);
		ret = identify(from, &tree, err);
		if (ret < 0)
			return ret;
		make_key(key, from, &tree);
		ret = layer_make(layer, key, from->path, build, &ctx, err);
	}
	if (ret == 0)
		remember(from, key);
	return ret;
}

int layer_confirm(const struct layer *layer, const struct layer_directory *from, struct error *err)
{
	char key[LAYER_KEY_MAX];
	struct tree tree;
	int ret = identify(from, &tree, err);

	if (ret < 0)
		return ret;
	make_key(key, from, &tree);
	if (!strcmp(key, layer->key))
		return 0;
	return error_say(err, ESTALE, "%s is not what its image was made of", from->path);
}
