/*
 * The folder of a snapshot, as `restore` opens it: its snapshot.json as the input has it, or made
 * of what the input says, with digests that are right or not; files with holes; files that are
 * none.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/store.h"
#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"

static int memory_file(struct error *err);

/* The copy of the scratch disk needs no store. The file itself: its digests are to be made. */
#define store_unnamed memory_file
#include "runtime/snapshot.c"

#define FILE_MAX (64u << 10)
#define LAYERS	 2

enum flag {
	RAW = 1,
	STATE_WRONG = 2,
	LAYERS_WRONG = 4,
	SCRATCH_WRONG = 8,
	SCRATCH_MISSES = 16,
	BUNDLE_READ_ONLY = 32,
	ODD_FILE = 64,
	ODD_NUMBER = 128,
};

static char folder[] = "/tmp/snapshot-fuzz-XXXXXX";
static int folder_fd;

static int memory_file(struct error *err)
{
	(void)err;
	return memfd_create("file", MFD_CLOEXEC);
}

static void take_files_away(void)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (unlinkat(folder_fd, files[i], 0) < 0 && errno == EISDIR)
			unlinkat(folder_fd, files[i], AT_REMOVEDIR);
	unlinkat(folder_fd, "other", 0);
}

static void take_folder_away(void)
{
	take_files_away();
	rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	driver_check(mkdtemp(folder) != NULL);
	folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	driver_check(folder_fd >= 0 && atexit(take_folder_away) == 0);
	return 0;
}

/* A few bytes here and there. */
static void fill_sparse(int fd, struct input *input)
{
	uint8_t bytes[64];

	driver_check(fd >= 0 && ftruncate(fd, input_u32(input) % FILE_MAX) == 0);
	for (unsigned int left = input_u8(input) % 4; left; left--) {
		uint32_t at = input_u32(input) % FILE_MAX;
		size_t len = input_take(input, bytes, input_u8(input) % sizeof(bytes));

		driver_check(pwrite(fd, bytes, len, at) == (ssize_t)len);
	}
}

/* The digest is of what there is, however it is kept. */
static void check_dense_copy(int fd)
{
	char hex[DIGEST_HEX + 1], dense[DIGEST_HEX + 1];
	static char bytes[2 * FILE_MAX];
	cleanup_fd int copy = memory_file(NULL);
	ssize_t len = pread(fd, bytes, sizeof(bytes), 0);

	driver_check(len >= 0 && write(copy, bytes, (size_t)len) == len);
	driver_check(digest_sparse(fd, hex) == 0 && digest_sparse(copy, dense) == 0);
	driver_check(!strcmp(hex, dense));
}

static json_t *digest_for(int fd, bool wrong)
{
	json_t *digest = digest_of(fd, NULL);

	driver_check(digest != NULL);
	if (wrong)
		((char *)(uintptr_t)json_string_value(digest))[3] ^= 1;
	return digest;
}

static json_t *number(struct input *input, uint8_t flags, json_int_t usual)
{
	uint8_t kind = flags & ODD_NUMBER ? input_u8(input) : 0;

	if (kind & 4)
		return json_integer((json_int_t)input_u64(input));
	if (kind & 2)
		return json_real((double)input_u64(input));
	return kind & 1 ? json_integer(input_u8(input)) : json_integer(usual);
}

static char *make_doc(struct input *input, uint8_t flags, int state_fd, int scratch_fd,
		      const int layers[LAYERS])
{
	json_t *list = json_array(), *doc = json_object();
	char *text;

	json_object_set_new(doc, "version", number(input, flags, VERSION));
	json_object_set_new(doc, "memory", number(input, flags, SETTINGS_MIN_MIB));
	json_object_set_new(doc, "memoryMax", number(input, flags, 0));
	json_object_set_new(doc, "boot", number(input, flags, SETTINGS_MIN_MIB));
	json_object_set_new(doc, "room", number(input, flags, 0));
	json_object_set_new(doc, "grown", number(input, flags, 0));
	json_object_set_new(doc, "vcpus", number(input, flags, 1));
	json_object_set_new(doc, "nics", number(input, flags, 0));
	json_object_set_new(doc, "state", digest_for(state_fd, flags & STATE_WRONG));
	for (int i = 0; i < LAYERS; i++)
		json_array_append_new(list, digest_for(layers[i], flags & LAYERS_WRONG));
	json_object_set_new(doc, "layers", list);
	if (!(flags & SCRATCH_MISSES))
		json_object_set_new(doc, "scratch", digest_for(scratch_fd, flags & SCRATCH_WRONG));
	text = json_dumps(doc, 0);
	driver_check(text != NULL);
	json_decref(doc);
	return text;
}

/* What nobody but its owner could have put there, or would not have: it is refused, and not waited
 * for. */
static void make_odd(struct input *input)
{
	uint8_t choice = input_u8(input);
	const char *name = files[choice % 3];

	switch (choice >> 2 & 7) {
	case 0:
		driver_check(fchmodat(folder_fd, name, 0620, 0) == 0);
		return;
	case 1:
		driver_check(linkat(folder_fd, name, folder_fd, "other", 0) == 0);
		return;
	case 2:
		driver_check(fchmodat(folder_fd, name, 0602, 0) == 0);
		return;
	default:
		driver_check(unlinkat(folder_fd, name, 0) == 0);
	}
	if ((choice >> 2 & 7) == 3)
		driver_check(symlinkat("scratch", folder_fd, name) == 0);
	else if ((choice >> 2 & 7) == 4)
		driver_check(mkfifoat(folder_fd, name, 0600) == 0);
	else if ((choice >> 2 & 7) == 5)
		driver_check(mkdirat(folder_fd, name, 0700) == 0);
}

static void check_message(int ret, const struct error *err)
{
	driver_check(ret <= 0);
	driver_check((ret < 0) == (err->message[0] != '\0'));
	driver_check(!strchr(err->message, '\n'));
}

static int put_disks(const struct snapshot *snapshot, const int layers[LAYERS], uint8_t flags)
{
	struct image_layer image_layers[LAYERS] = {0};
	struct images images = {
		.layers = image_layers,
		.count = LAYERS,
		.scratch_fd = flags & BUNDLE_READ_ONLY ? -1 : memory_file(NULL),
	};
	struct error err = {0};
	int ret;

	for (int i = 0; i < LAYERS; i++)
		image_layers[i].layer.fd = layers[i];
	ret = snapshot_put_disks(snapshot, &images, &err);
	check_message(ret < 0 ? ret : 0, &err);
	if (ret >= 0 && images.scratch_fd >= 0)
		driver_check(
			has_digest(images.scratch_fd, json_object_get(snapshot->doc, "scratch")));
	close_fd(&images.scratch_fd);
	return ret;
}

static void open_it(const int layers[LAYERS], uint8_t flags)
{
	const uint8_t wrong = LAYERS_WRONG | SCRATCH_WRONG;
	struct snapshot snapshot = SNAPSHOT_INIT;
	struct vm_size size = {0};
	struct error err = {0};
	int ret = snapshot_open(&snapshot, folder, &size, &err);

	check_message(ret, &err);
	driver_check(ret < 0 || !(flags & ODD_FILE));
	if (!(flags & (RAW | ODD_FILE | ODD_NUMBER)))
		driver_check((ret == 0) == !(flags & STATE_WRONG));
	if (ret == 0) {
		driver_check(size.memory_mib >= SETTINGS_MIN_MIB &&
			     size.memory_mib <= SETTINGS_MAX_MIB);
		driver_check(size.boot_mib >= SETTINGS_MIN_MIB &&
			     size.boot_mib <= size.memory_mib &&
			     size.memory_mib - size.boot_mib <= size.room_mib &&
			     size.room_mib <= SETTINGS_MAX_MIB && size.grown_mib <= size.room_mib);
		driver_check(size.vcpus >= 1 && size.vcpus <= SETTINGS_MAX_VCPUS);
		driver_check(snapshot_nics(&snapshot) <= SETTINGS_MAX_NICS);
		ret = put_disks(&snapshot, layers, flags);
		if (!(flags & RAW) && !(flags & SCRATCH_MISSES) == !(flags & BUNDLE_READ_ONLY))
			driver_check((ret >= 0) ==
				     !(flags & (flags & SCRATCH_MISSES ? LAYERS_WRONG : wrong)));
	}
	snapshot_close(&snapshot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t flags = input_u8(&input);
	cleanup_fd int doc_fd = file_make(folder_fd, DOC, NULL);
	cleanup_fd int state_fd = file_make(folder_fd, "state", NULL);
	cleanup_fd int memory_fd = file_make(folder_fd, "memory", NULL);
	cleanup_fd int scratch_fd = file_make(folder_fd, "scratch", NULL);
	int layers[LAYERS] = {memory_file(NULL), memory_file(NULL)};
	cleanup_free char *doc = NULL;

	fill_sparse(state_fd, &input);
	fill_sparse(scratch_fd, &input);
	for (int i = 0; i < LAYERS; i++)
		fill_sparse(layers[i], &input);
	check_dense_copy(scratch_fd);
	if (!(flags & RAW))
		doc = make_doc(&input, flags, state_fd, scratch_fd, layers);
	driver_check(
		(doc ? write(doc_fd, doc, strlen(doc)) : write(doc_fd, input.at, input.left)) >= 0);
	if (flags & ODD_FILE)
		make_odd(&input);
	open_it(layers, flags);
	for (int i = 0; i < LAYERS; i++)
		close(layers[i]);
	take_files_away();
	return 0;
}
