/* Layers: what mountinfo says, the identity of a tree, the cache, scratch disks. */
#include "runtime/layer_cache.h"
#include "runtime/overlay.h"
#include "runtime/scratch.h"
#include "runtime/store.h"
#include "runtime/tree.h"
#include "tests/unit/suites.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OTHER "29 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"

static struct overlay overlay;

static int parse(const char *line)
{
	char text[8192];

	snprintf(text, sizeof(text), "%s%s\n" OTHER, OTHER, line);
	return overlay_parse(text, 42, &overlay);
}

START_TEST(layers_of_the_engines)
{
	/* podman */
	ck_assert_int_eq(
		parse("42 37 0:34 / /var/lib/containers/storage/overlay/3f/merged rw,nodev,relatime "
		      "shared:7 - overlay overlay rw,lowerdir=/s/overlay/l/AB:/s/overlay/l/CD,"
		      "upperdir=/s/overlay/3f/diff,workdir=/s/overlay/3f/work,metacopy=on,volatile"),
		1);
	ck_assert_uint_eq(overlay.count, 2);
	ck_assert_str_eq(overlay.lower[0], "/s/overlay/l/AB");
	ck_assert_str_eq(overlay.lower[1], "/s/overlay/l/CD");
	ck_assert_str_eq(overlay.upper, "/s/overlay/3f/diff");
	ck_assert_str_eq(overlay.work, "/s/overlay/3f/work");
	ck_assert(overlay.metacopy && !overlay.userxattr);
	overlay_destroy(&overlay);
	/* A read-only one has no upper directory; several optional fields, or none. */
	ck_assert_int_eq(parse("42 37 0:34 / /m ro - overlay o ro,lowerdir=l/A,userxattr"), 1);
	ck_assert_str_eq(overlay.lower[0], "l/A");
	ck_assert_ptr_null(overlay.upper);
	ck_assert(overlay.userxattr);
	overlay_destroy(&overlay);
	/* fsconfig(2) gave them one by one. */
	ck_assert_int_eq(parse("42 37 0:34 / /m ro master:1 propagate_from:2 - overlay o "
			       "ro,lowerdir+=/a:b,lowerdir+=/c"),
			 1);
	ck_assert_uint_eq(overlay.count, 2);
	ck_assert_str_eq(overlay.lower[0], "/a:b");
	overlay_destroy(&overlay);
}
END_TEST

START_TEST(escapes_in_paths)
{
	ck_assert_int_eq(parse("42 37 0:34 / /m\\040n rw - overlay o rw,lowerdir=/a\\134:b\\054c:"
			       "/d\\040e\\134\\134f,upperdir=/u\\012\\134:,workdir=/w"),
			 1);
	ck_assert_str_eq(overlay.mount_point, "/m n");
	ck_assert_uint_eq(overlay.count, 2);
	ck_assert_str_eq(overlay.lower[0], "/a:b,c");
	ck_assert_str_eq(overlay.lower[1], "/d e\\f");
	ck_assert_str_eq(overlay.upper, "/u\n:");
	overlay_destroy(&overlay);
}
END_TEST

START_TEST(what_cannot_be_taken_apart)
{
	/* Another file system, a part of an overlay, data-only layers, and nonsense. */
	ck_assert_int_eq(parse("42 37 0:34 / /m rw - tmpfs lowerdir rw,lowerdir=/a"), 0);
	ck_assert_int_eq(parse("42 37 0:34 /sub /m rw - overlay o rw,lowerdir=/a"), 0);
	ck_assert_int_eq(parse("42 37 0:34 / /m rw - overlay o ro,lowerdir=/a::/b"), 0);
	ck_assert_int_eq(parse("42 37 0:34 / /m rw - overlay o ro,lowerdir=/a,datadir+=/b"), 0);
	ck_assert_int_eq(parse("42 37 0:34 / /m rw - overlay o ro"), 0);
	ck_assert_int_eq(parse("42 37 0:34 / /m rw - overlay o"), 0);
	ck_assert_int_eq(parse("42 37 0:34 / /m rw"), 0);
	ck_assert_int_eq(parse("42 37"), 0);
	ck_assert_int_eq(parse("421 37 0:34 / /m rw - overlay o ro,lowerdir=/a"), 0);
	ck_assert_int_eq(overlay_parse("", 42, &overlay), 0);
}
END_TEST

START_TEST(sizes_of_scratch_disks)
{
	static const char *const bad[] = {"",	 "1",	"15M", "17T",  "-1G",
					  "1GB", "1 G", "G",   "0x1G", "99999999999999999999"};
	uint64_t bytes = 0;

	ck_assert_int_eq(scratch_parse_size("16M", &bytes, NULL), 0);
	ck_assert_uint_eq(bytes, 16 << 20);
	ck_assert_int_eq(scratch_parse_size("2g", &bytes, NULL), 0);
	ck_assert_uint_eq(bytes, 2ull << 30);
	ck_assert_int_eq(scratch_parse_size("33554433", &bytes, NULL), 0);
	ck_assert_uint_eq(bytes, 33554432);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(scratch_parse_size(bad[i], &bytes, NULL) == -EINVAL, "%s", bad[i]);
}
END_TEST

/* --- on a file system --- */

static char dir[] = "/tmp/layers-test.XXXXXX";
static int dir_fd;

static void run(const char *command)
{
	char text[512];

	snprintf(text, sizeof(text), "cd %s && %s", dir, command);
	ck_assert_int_eq(system(text), 0);
}

static void setup(void)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	run("mkdir -p tree/a/b tree/c && echo one >tree/a/b/file && ln -s x tree/link");
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void teardown(void)
{
	run("rm -rf tree store");
	close(dir_fd);
	rmdir(dir);
}

static void identify(struct tree *tree)
{
	struct error err = {0};
	int fd = openat(dir_fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ck_assert_msg(tree_identify(fd, tree, &err) == 0, "%s", err.message);
	close(fd);
}

START_TEST(a_tree_that_changes_has_another_identity)
{
	/* Each leaves the size, or the times of modification, or the names as they were. */
	static const char *const changes[] = {
		"printf 'two\\n' >tree/a/b/file",
		"printf 'six\\n' >tree/a/b/file && touch -d @1000000000 tree/a/b/file",
		"printf 'ten\\n' >tree/a/b/file && touch -d @1000000000 tree/a/b/file",
		"chmod 600 tree/a/b/file",
		"chmod 711 tree/a",
		"mv tree/a/b tree/a/d",
		"mv tree/a/d tree/c/d",
		"ln tree/c/d/file tree/other",
		"cp -p tree/other new && mv new tree/other",
		"ln -sfn y tree/link",
		"mknod tree/whiteout p",
		"rm tree/whiteout",
	};
	struct tree before, after;

	identify(&before);
	ck_assert_uint_eq(before.entries, 5);
	ck_assert_uint_eq(before.bytes, 4);
	identify(&after);
	ck_assert_str_eq(before.digest, after.digest);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		run(changes[i]);
		identify(&after);
		ck_assert_msg(strcmp(before.digest, after.digest) != 0, "%s", changes[i]);
		before = after;
	}
}
END_TEST

START_TEST(names_are_not_followed)
{
	struct tree tree;

	run("ln -s /usr tree/out && ln -s .. tree/up && ln -s out tree/a/b/again");
	identify(&tree);
	ck_assert_uint_eq(tree.entries, 8);
}
END_TEST

START_TEST(deep_trees_and_long_names_are_refused_wide_ones_are_not)
{
	struct error err = {0};
	struct tree tree;
	int fd;

	run("cd tree && seq 20000 | xargs touch");
	identify(&tree);
	ck_assert_uint_eq(tree.entries, 20005);
	run("touch tree/$(printf %254s | tr ' ' n)");
	identify(&tree);
	run("touch tree/$(printf %255s | tr ' ' n)");
	fd = openat(dir_fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(tree_identify(fd, &tree, &err), -E2BIG);
	ck_assert_str_eq(err.message, "a name in it has over 254 bytes");
	close(fd);
	error_clear(&err);
	run("rm tree/nnn*");
	fd = openat(dir_fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 5000; i++) {
		int next;

		ck_assert_int_eq(mkdirat(fd, "d", 0755), 0);
		next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = next;
	}
	close(fd);
	fd = openat(dir_fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(tree_identify(fd, &tree, &err), -ENAMETOOLONG);
	ck_assert_str_eq(err.message, "directories nest too deeply: a path has over 4095 bytes");
	close(fd);
}
END_TEST

START_TEST(holes_are_seen_and_kept)
{
	struct tree tree;
	struct stat st;
	int from, to;
	char bytes[3] = "";

	run("truncate -s 40M tree/sparse && printf end | "
	    "dd of=tree/sparse bs=1 seek=20000000 conv=notrunc status=none");
	identify(&tree);
	ck_assert(tree.sparse);
	from = openat(dir_fd, "tree/sparse", O_RDONLY | O_CLOEXEC);
	to = openat(dir_fd, "tree/copy", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(copy_extents(from, to, 40 << 20), 0);
	ck_assert_int_eq(fstat(to, &st), 0);
	ck_assert_int_eq(st.st_size, 40 << 20);
	ck_assert_int_lt(st.st_blocks * 512, 1 << 20);
	ck_assert_int_eq(pread(to, bytes, 3, 20000000), 3);
	ck_assert_mem_eq(bytes, "end", 3);
	close(from);
	close(to);
}
END_TEST

/* --- the cache --- */

static unsigned int built;

/* An image as far as the cache looks at it: 64 KiB, with EROFS's magic number. */
static int build(void *ctx, int fd, struct layer_seal *seal, struct error *err)
{
	static const uint8_t magic[] = {0xe2, 0xe1, 0xf5, 0xe0};
	const char *text = ctx;

	(void)seal;
	built++;
	if (!text)
		return error_say(err, ENOSPC, "no place");
	ck_assert_int_eq(ftruncate(fd, 65536), 0);
	ck_assert_int_eq(pwrite(fd, magic, 4, 1024), 4);
	ck_assert_int_eq(pwrite(fd, text, strlen(text), 60000), (int)strlen(text));
	return 0;
}

static struct settings settings;

static void setup_cache(void)
{
	struct error err = {0};
	char path[64];

	setup();
	snprintf(path, sizeof(path), "%s/store", dir);
	settings.file = json_pack("{s:s, s:s}", "data-root", path, "cache-size", "16M");
	ck_assert_int_eq(store_set(&settings, &err), 0);
	built = 0;
}

static void teardown_cache(void)
{
	teardown();
	json_decref(settings.file);
}

static void make(const char *key, struct layer *layer)
{
	struct error err = {0};
	char text[] = "content";

	*layer = (struct layer)LAYER_INIT;
	ck_assert_msg(layer_make(layer, key, "from", build, text, &err) == 0, "%s", err.message);
	ck_assert_int_ge(layer->fd, 0);
	ck_assert_uint_eq(layer->size, 65536);
}

START_TEST(what_was_made_once_is_found)
{
	struct layer layer, none = LAYER_INIT;
	struct layer_entry *entries;
	struct error err = {0};

	ck_assert_int_eq(layer_open(&none, "k1", NULL), 0);
	make("k1", &layer);
	layer_close(&layer);
	make("k1", &layer);
	ck_assert_uint_eq(built, 1);
	ck_assert_int_eq(layer_list(&entries, NULL), 1);
	ck_assert_str_eq(entries[0].key, "k1");
	ck_assert_str_eq(entries[0].source, "from");
	ck_assert(entries[0].in_use);
	layer_list_free(entries, 1);
	layer_close(&layer);
	/* What could not be made leaves nothing. */
	ck_assert_int_eq(layer_make(&none, "k2", "from", build, NULL, &err), -ENOSPC);
	run("test \"$(ls -A store/layers)\" = k1");
}
END_TEST

START_TEST(what_was_altered_is_made_again)
{
	/* Each is found without reading the whole image. */
	static const char *const damages[] = {
		"chmod 600 store/layers/k1/image && printf X | "
		"dd of=store/layers/k1/image bs=1 seek=60000 conv=notrunc status=none",
		"truncate -s 32768 store/layers/k1/image",
		"truncate -s 0 store/layers/k1/image",
		"rm store/layers/k1/image",
		"rm store/layers/k1/entry.json",
		"echo '{' >store/layers/k1/entry.json",
		"echo '{}' >store/layers/k1/entry.json",
	};
	struct layer layer;
	char text[8] = "";

	for (unsigned int i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		make("k1", &layer);
		layer_close(&layer);
		ck_assert_uint_eq(built, i + 1);
		run(damages[i]);
		make("k1", &layer);
		ck_assert_uint_eq(built, i + 2);
		ck_assert_int_eq(pread(layer.fd, text, 7, 60000), 7);
		ck_assert_str_eq(text, "content");
		layer_close(&layer);
	}
	/* Moved, with other times, but the same: it is read, and kept. */
	run("cp store/layers/k1/image i && mv -f i store/layers/k1/image");
	make("k1", &layer);
	layer_close(&layer);
	ck_assert_uint_eq(built, sizeof(damages) / sizeof(damages[0]) + 1);
}
END_TEST

START_TEST(verify_reads_everything)
{
	struct error err = {0};
	struct layer layer;

	make("k1", &layer);
	ck_assert_int_eq(layer_verify("k1", &err), 0);
	run("chmod 600 store/layers/k1/image && printf X | "
	    "dd of=store/layers/k1/image bs=1 seek=60000 conv=notrunc status=none");
	ck_assert_int_eq(layer_verify("k1", &err), -EUCLEAN);
	layer_close(&layer);
}
END_TEST

START_TEST(many_at_once_make_it_once)
{
	pid_t pids[8];
	struct layer layer;
	int status;

	for (int i = 0; i < 8; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			make("k1", &layer);
			_exit((int)built);
		}
	}
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		ck_assert(WIFEXITED(status));
		built += (unsigned int)WEXITSTATUS(status);
	}
	ck_assert_uint_eq(built, 1);
}
END_TEST

START_TEST(eviction_spares_what_is_in_use)
{
	struct layer used, layer;
	uint64_t freed, left;

	make("old-used", &used);
	make("older", &layer);
	layer_close(&layer);
	make("new", &layer);
	layer_close(&layer);
	run("touch -d '3 days ago' store/layers/old-used && touch -d '2 days ago' store/layers/older");
	run("mkdir store/layers/.new-left-1 && touch store/layers/.new-left-1/image");
	ck_assert_int_eq(layer_evict(20000, &freed, &left, NULL), 0);
	/* Sizes are those on the disk: 8 KiB each. */
	run("test \"$(ls store/layers)\" = \"$(printf 'new\\nold-used')\"");
	ck_assert_int_eq(layer_evict(0, &freed, &left, NULL), 0);
	run("test \"$(ls store/layers)\" = old-used");
	ck_assert_int_eq(layer_remove("old-used", NULL), -EBUSY);
	layer_close(&used);
	/* The next one to make something takes away what was left half-made. */
	make("another", &layer);
	layer_close(&layer);
	ck_assert_int_eq(layer_evict(0, &freed, &left, NULL), 0);
	run("test -z \"$(ls -A store/layers)\"");
}
END_TEST

START_TEST(scratch_disks_are_small_copies)
{
	struct error err = {0};
	struct stat st;
	int fd = scratch_make(1ull << 30, &err);

	ck_assert_msg(fd >= 0, "%s", err.message);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, 1 << 30);
	ck_assert_int_lt(st.st_blocks * 512, 512 << 10);
	ck_assert_int_eq(st.st_nlink, 0);
	close(fd);
	/* A damaged one is made again. */
	run("truncate -s 4096 store/scratch/ext4-*");
	fd = scratch_make(1ull << 30, &err);
	ck_assert_int_ge(fd, 0);
	close(fd);
}
END_TEST

/* What an overlay on tmpfs says needs a mount: podman's tests have one. */
START_TEST(scratch_disks_that_are_memory)
{
	int memory = memfd_create("disk", MFD_CLOEXEC), file = open("/proc/self/stat", O_RDONLY);

	ck_assert_int_eq(ftruncate(memory, 1 << 20), 0);
	ck_assert_uint_eq(scratch_memory(memory), 1 << 20);
	ck_assert_uint_eq(scratch_memory(file), 0);
	ck_assert_uint_eq(scratch_memory(-1), 0);
	close(memory);
	close(file);
}
END_TEST

Suite *layers_suite(void)
{
	Suite *suite = suite_create("layers");
	TCase *tcase = tcase_create("pure");

	tcase_add_test(tcase, layers_of_the_engines);
	tcase_add_test(tcase, escapes_in_paths);
	tcase_add_test(tcase, what_cannot_be_taken_apart);
	tcase_add_test(tcase, sizes_of_scratch_disks);
	tcase_add_test(tcase, scratch_disks_that_are_memory);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("trees");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, a_tree_that_changes_has_another_identity);
	tcase_add_test(tcase, names_are_not_followed);
	tcase_add_test(tcase, deep_trees_and_long_names_are_refused_wide_ones_are_not);
	tcase_add_test(tcase, holes_are_seen_and_kept);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("cache");
	tcase_add_checked_fixture(tcase, setup_cache, teardown_cache);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, what_was_made_once_is_found);
	tcase_add_test(tcase, what_was_altered_is_made_again);
	tcase_add_test(tcase, verify_reads_everything);
	tcase_add_test(tcase, many_at_once_make_it_once);
	tcase_add_test(tcase, eviction_spares_what_is_in_use);
	tcase_add_test(tcase, scratch_disks_are_small_copies);
	suite_add_tcase(suite, tcase);
	return suite;
}
