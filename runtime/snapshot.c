#include "runtime/snapshot.h"
#include "runtime/control_client.h"
#include "runtime/digest.h"
#include "runtime/file.h"
#include "runtime/scratch.h"
#include "runtime/store.h"
#include "runtime/template_pages.h"

#include "common/cleanup.h"
#include "common/extent.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION	  2
#define DOC	  "snapshot.json"
#define DOC_MAX	  (1u << 20)
#define BLOCK	  4096u
#define OTHERS	  0022	/* may not write it */
#define HOLD_MS	  15000 /* the VMM gives up earlier, and says why */
#define STATUS_MS 2000
#define SAVE_MS	  600000 /* as long as the disk takes for the memory */

static const char *const files[] = {DOC, "state", "memory", "scratch"};

/* --- digests --- */

/* Of what is not zero in a sparse file, and where: holes may come and go when it is copied. */
static int digest_sparse(int fd, char hex[DIGEST_HEX + 1])
{
	static const char zeroes[BLOCK];
	struct extent extent = {0};
	struct digest digest;
	char block[BLOCK];
	struct stat st;
	int ret;

	if (fstat(fd, &st) < 0)
		return -errno;
	digest_begin(&digest);
	digest_add(&digest, &st.st_size, sizeof(st.st_size));
	while ((ret = extent_next(fd, extent.end, st.st_size, &extent)) > 0) {
		for (off_t at = extent.start - extent.start % BLOCK; at < extent.end; at += BLOCK) {
			ssize_t n = pread(fd, block, BLOCK, at);

			if (n <= 0)
				return n < 0 ? -errno : -EIO;
			if (!memcmp(block, zeroes, (size_t)n))
				continue;
			digest_add(&digest, &at, sizeof(at));
			digest_add(&digest, block, (size_t)n);
		}
		/* A block is looked at once. */
		if (extent.end % BLOCK)
			extent.end += BLOCK - extent.end % BLOCK;
	}
	digest_end(&digest, hex);
	return ret;
}

static json_t *digest_of(int fd, struct error *err)
{
	char hex[DIGEST_HEX + 1];
	int ret = digest_sparse(fd, hex);

	if (ret < 0)
		error_set(err, -ret, "read what is to be saved");
	return ret < 0 ? NULL : json_string(hex);
}

static bool has_digest(int fd, const json_t *expected)
{
	const char *text = json_string_value(expected);
	char hex[DIGEST_HEX + 1];

	return text && digest_sparse(fd, hex) == 0 && !strcmp(text, hex);
}

/* --- making one --- */

json_t *snapshot_describe_vm(const struct vm_size *size, const struct images *images,
			     unsigned int nics)
{
	json_t *layers = json_array();
	json_t *vm = json_pack("{s:i, s:i, s:i, s:i, s:o, s:i}", "memory", (int)size->memory_mib,
			       "memoryMax", (int)size->memory_max_mib, "vcpus", (int)size->vcpus,
			       "nics", (int)nics, "layers", layers, "scratch", images->scratch_fd);

	/* The numbers that they have in the VMM too. */
	for (size_t i = 0; i < images->count; i++)
		json_array_append_new(layers, json_integer(images->layers[i].layer.fd));
	return vm;
}

/* A file of the VMM's by its number there; whoever took the VMM over may have put another. */
static int open_of_vmm(pid_t pid, const json_t *number, struct error *err)
{
	cleanup_free char *path = format("/proc/%d/fd/%d", pid, (int)json_integer_value(number));
	cleanup_fd int fd = path ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set(err, errno, "open a disk of the VM");
	if (!S_ISREG(st.st_mode))
		return error_say(err, EINVAL, "a disk of the VM is no file");
	return take_fd(&fd);
}

static int describe_layers(json_t *doc, pid_t pid, const json_t *vm, struct error *err)
{
	json_t *layers = json_array();
	const json_t *number;
	size_t i;

	json_object_set_new(doc, "layers", layers);
	json_array_foreach (json_object_get(vm, "layers"), i, number) {
		cleanup_fd int fd = open_of_vmm(pid, number, err);

		if (fd < 0 || json_array_append_new(layers, digest_of(fd, err)) < 0)
			return fd < 0 ? fd : -EIO;
	}
	return 0;
}

static int save_scratch(json_t *doc, int dir_fd, pid_t pid, const json_t *vm, struct error *err)
{
	const json_t *number = json_object_get(vm, "scratch");
	cleanup_fd int from_fd = -1, fd = -1;
	struct stat st;
	int ret;

	if (json_integer_value(number) < 0)
		return 0;
	from_fd = open_of_vmm(pid, number, err);
	fd = from_fd < 0 ? from_fd : file_make(dir_fd, "scratch", err);
	if (fd < 0)
		return fd;
	ret = fstat(from_fd, &st) < 0 ? -errno : copy_extents(from_fd, fd, (uint64_t)st.st_size);
	if (ret < 0 || fsync(fd) < 0)
		return error_set(err, ret < 0 ? -ret : errno, "copy the scratch disk");
	return json_object_set_new(doc, "scratch", digest_of(fd, err)) < 0 ? -EIO : 0;
}

/* What of a clone's memory is its own, as a file; -1 for one that came from no template. */
static int find_pages(const struct state *state, uint64_t size, int *out, struct error *err)
{
	cleanup_free uint8_t *bits = NULL;
	cleanup_fd int fd = -1;
	int ret = template_find_pages(state->pid, size, &bits);

	if (ret > 0)
		fd = memfd_create("pages", MFD_CLOEXEC);
	if (ret > 0 && (fd < 0 || write_all(fd, bits, size / BLOCK / 8) < 0))
		ret = -EIO;
	*out = take_fd(&fd);
	return ret < 0 ? error_set(err, -ret, "see which memory was written") : 0;
}

/* What the VM has of memory by now, and what it is to have. */
static void describe_memory(json_t *doc, const struct proto_status *status, const json_t *vm)
{
	const struct {
		const char *name;
		uint64_t bytes;
	} sizes[] = {
		{"memory", status->memory_boot + status->memory_requested},
		{"boot", status->memory_boot},
		{"room", status->memory_room},
		{"grown", status->memory_grown},
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		json_object_set_new(doc, sizes[i].name,
				    json_integer((json_int_t)(sizes[i].bytes >> 20)));
	json_object_set(doc, "memoryMax", json_object_get(vm, "memoryMax"));
}

static int save_vm(json_t *doc, const struct state *state, struct control *control, int dir_fd,
		   const json_t *vm, struct error *err)
{
	cleanup_fd int state_fd = -1, memory_fd = -1, pages_fd = -1;
	struct proto_status status = {0};
	uint64_t size;
	int fds[3], ret;

	ret = control_request(control, PROTO_HOLD, NULL, 0, HOLD_MS, NULL, err);
	if (ret == 0)
		ret = control_status(control, &status, STATUS_MS, err);
	if (ret == 0)
		ret = find_pages(state, status.memory_boot, &pages_fd, err);
	if (ret < 0)
		return ret;
	fds[0] = state_fd = file_make(dir_fd, "state", err);
	fds[1] = memory_fd = file_make(dir_fd, "memory", err);
	fds[2] = pages_fd;
	if (state_fd < 0 || memory_fd < 0)
		return -EIO;
	size = status.memory_boot + status.memory_grown;
	if (ftruncate(memory_fd, (off_t)size) < 0)
		return error_set(err, errno, "make memory %llu MiB large",
				 (unsigned long long)size >> 20);
	describe_memory(doc, &status, vm);
	ret = control_request_fds(control, PROTO_SAVE, NULL, 0,
				  &(struct control_fds){fds, pages_fd < 0 ? 2 : 3}, SAVE_MS, NULL,
				  err);
	if (ret == 0 && (fsync(memory_fd) < 0 || fsync(state_fd) < 0))
		ret = error_set(err, errno, "write memory and state");
	if (ret == 0 && json_object_set_new(doc, "state", digest_of(state_fd, err)) < 0)
		ret = -EIO;
	return ret;
}

static int fill(const struct state *state, struct control *control, int dir_fd, struct error *err)
{
	const json_t *vm = json_object_get(state->doc, "vm");
	json_t *doc = json_pack("{s:i, s:s}", "version", VERSION, "id", state->id);
	cleanup_free char *text = NULL;
	int ret;

	if (!vm)
		ret = error_say(err, EINVAL, "it was made by another version of bulkhead");
	else
		ret = save_vm(doc, state, control, dir_fd, vm, err);
	if (ret == 0)
		ret = save_scratch(doc, dir_fd, state->pid, vm, err);
	if (ret == 0)
		ret = describe_layers(doc, state->pid, vm, err);
	if (ret == 0) {
		json_object_set(doc, "vcpus", json_object_get(vm, "vcpus"));
		json_object_set(doc, "nics", json_object_get(vm, "nics"));
		text = json_dumps(doc, JSON_INDENT(4));
		ret = text ? file_replace(dir_fd, DOC, 0600, text, strlen(text), err)
			   : error_set(err, ENOMEM, DOC);
	}
	json_decref(doc);
	return ret;
}

/* --- the folder --- */

static int open_folder(const char *path, struct error *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set(err, errno, "open %s", path);
	if (!file_is_ours(&st, S_IFDIR, OTHERS))
		return error_say(err, EPERM,
				 "%s: must belong to user %u, and be nobody else's to write", path,
				 geteuid());
	return take_fd(&fd);
}

int snapshot_make(const struct state *state, struct control *control, const char *path,
		  struct error *err)
{
	cleanup_fd int dir_fd = -1;
	bool made = mkdir(path, 0700) == 0;
	int ret;

	if (!made && errno != EEXIST)
		return error_set(err, errno, "make %s", path);
	dir_fd = open_folder(path, err);
	if (dir_fd < 0)
		return dir_fd;
	/* Without this an old one is none, whatever becomes of the new one. */
	unlinkat(dir_fd, DOC, 0);
	ret = fill(state, control, dir_fd, err);
	if (ret == 0)
		return 0;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlinkat(dir_fd, files[i], 0);
	if (made)
		rmdir(path);
	return ret;
}

/* --- taking one --- */

static int open_file(int dir_fd, const char *name, struct error *err)
{
	int fd = file_open_ours(dir_fd, name, OTHERS);

	if (fd == -EPERM)
		return error_say(err, EPERM,
				 "%s: must be a file of user %u's, and nobody else's to write",
				 name, geteuid());
	return fd < 0 ? error_set(err, -fd, "%s", name) : fd;
}

static int read_number(const json_t *doc, const char *name, uint32_t min, uint32_t max,
		       uint32_t *out, struct error *err)
{
	json_int_t value = json_integer_value(json_object_get(doc, name));

	if (value < min || value > max)
		return error_say(err, EINVAL, DOC ": %s makes no sense", name);
	*out = (uint32_t)value;
	return 0;
}

static int read_doc(struct snapshot *snapshot, struct vm_size *size, struct error *err)
{
	cleanup_fd int fd = open_file(snapshot->dir_fd, DOC, err);
	cleanup_free char *text = NULL;
	uint32_t nics;
	ssize_t len;
	int ret;

	if (fd < 0)
		return fd;
	len = file_read(snapshot->dir_fd, DOC, DOC_MAX, &text, err);
	if (len < 0)
		return (int)len;
	snapshot->doc = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(snapshot->doc))
		return error_say(err, EINVAL, DOC " is broken");
	if (json_integer_value(json_object_get(snapshot->doc, "version")) != VERSION)
		return error_say(err, EINVAL, "it is of another version, not %d", VERSION);
	ret = read_number(snapshot->doc, "memory", SETTINGS_MIN_MIB, SETTINGS_MAX_MIB,
			  &size->memory_mib, err);
	if (ret == 0)
		ret = read_number(snapshot->doc, "memoryMax", 0, SETTINGS_MAX_MIB,
				  &size->memory_max_mib, err);
	if (ret == 0)
		ret = read_number(snapshot->doc, "boot", SETTINGS_MIN_MIB, size->memory_mib,
				  &size->boot_mib, err);
	if (ret == 0)
		ret = read_number(snapshot->doc, "room", size->memory_mib - size->boot_mib,
				  SETTINGS_MAX_MIB, &size->room_mib, err);
	if (ret == 0)
		ret = read_number(snapshot->doc, "grown", 0, size->room_mib, &size->grown_mib, err);
	if (ret == 0)
		ret = read_number(snapshot->doc, "vcpus", 1, SETTINGS_MAX_VCPUS, &size->vcpus, err);
	if (ret == 0)
		ret = read_number(snapshot->doc, "nics", 0, SETTINGS_MAX_NICS, &nics, err);
	return ret;
}

int snapshot_open(struct snapshot *snapshot, const char *path, struct vm_size *size,
		  struct error *err)
{
	int ret;

	snapshot->dir_fd = open_folder(path, err);
	if (snapshot->dir_fd < 0)
		return snapshot->dir_fd;
	ret = read_doc(snapshot, size, err);
	if (ret == 0)
		ret = snapshot->state_fd = open_file(snapshot->dir_fd, "state", err);
	if (ret >= 0)
		ret = snapshot->memory_fd = open_file(snapshot->dir_fd, "memory", err);
	if (ret >= 0 && !has_digest(snapshot->state_fd, json_object_get(snapshot->doc, "state")))
		ret = error_say(err, ESTALE, "the state was altered");
	return ret < 0 ? error_prefix(err, ret, "the snapshot in %s is refused", path) : 0;
}

static int check_layers(const struct snapshot *snapshot, const struct images *images,
			struct error *err)
{
	const json_t *layers = json_object_get(snapshot->doc, "layers");
	bool same = json_array_size(layers) == images->count;

	for (size_t i = 0; same && i < images->count; i++)
		same = has_digest(images->layers[i].layer.fd, json_array_get(layers, i));
	return same ? 0
		    : error_say(err, ESTALE,
				"the root of the bundle is not what it was at the checkpoint");
}

static int load_scratch(const struct snapshot *snapshot, struct error *err)
{
	cleanup_fd int from_fd = open_file(snapshot->dir_fd, "scratch", err);
	cleanup_fd int fd = -1;
	struct stat st;
	int ret;

	if (from_fd < 0)
		return from_fd;
	fd = store_unnamed(err);
	if (fd < 0)
		return fd;
	ret = fstat(from_fd, &st) < 0 ? -errno : copy_extents(from_fd, fd, (uint64_t)st.st_size);
	if (ret < 0)
		return error_set(err, -ret, "copy the scratch disk");
	/* Of the copy: nobody can alter it any more. */
	if (!has_digest(fd, json_object_get(snapshot->doc, "scratch")))
		return error_say(err, ESTALE, "the scratch disk was altered");
	return take_fd(&fd);
}

int snapshot_put_disks(const struct snapshot *snapshot, struct images *images, struct error *err)
{
	bool scratch = json_object_get(snapshot->doc, "scratch") != NULL;
	int ret = check_layers(snapshot, images, err);

	if (ret == 0 && scratch != (images->scratch_fd >= 0))
		ret = error_say(
			err, ESTALE,
			"the bundle's root is read-only or shared, and was not, or otherwise");
	if (ret == 0 && scratch) {
		close_fd(&images->scratch_fd);
		ret = images->scratch_fd = load_scratch(snapshot, err);
	}
	return ret < 0 ? error_prefix(err, ret, "the snapshot is refused") : 0;
}

unsigned int snapshot_nics(const struct snapshot *snapshot)
{
	return (unsigned int)json_integer_value(json_object_get(snapshot->doc, "nics"));
}

void snapshot_close(struct snapshot *snapshot)
{
	close_fd(&snapshot->dir_fd);
	close_fd(&snapshot->state_fd);
	close_fd(&snapshot->memory_fd);
	json_decref(snapshot->doc);
	snapshot->doc = NULL;
}
