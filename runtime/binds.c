#include "runtime/binds.h"
#include "runtime/copies.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Files that are copied: all of them together leave CREATE room for the config. */
#define COPY_ALL  (256u << 10)
#define FIRST_INO 1 /* of the root of procfs, sysfs and cgroup2 */

/* One bind mount while it is looked at. */
struct bind {
	size_t number; /* in config.mounts */
	json_t *mount; /* a copy of the config's, for binds->mounts */
	const char *source, *destination;
	char *path; /* of the source, absolute; owned */
	int fd;	    /* O_PATH; owned, unless it became a share's */
	struct stat st;
	struct statfs fs;
	bool readonly, recursive;
};

static bool has_option(const json_t *mount, const char *name)
{
	const json_t *option;
	size_t i;

	json_array_foreach (json_object_get(mount, "options"), i, option)
		if (!strcmp(json_string_value(option), name))
			return true;
	return false;
}

static bool is_bind(const json_t *mount)
{
	const char *type = json_string_value(json_object_get(mount, "type"));

	return (type && !strcmp(type, "bind")) || has_option(mount, "bind") ||
	       has_option(mount, "rbind");
}

/* Of ro and rw the last one counts. */
static bool is_readonly(const json_t *mount)
{
	const json_t *option;
	bool readonly = false;
	size_t i;

	json_array_foreach (json_object_get(mount, "options"), i, option) {
		const char *name = json_string_value(option);

		if (!strcmp(name, "ro") || !strcmp(name, "rro"))
			readonly = true;
		else if (!strcmp(name, "rw"))
			readonly = false;
	}
	return readonly;
}

static int refuse(const struct bind *bind, struct error *err, const char *why)
{
	return error_say(err, ENOTSUP, "mounts[%zu]: bind mount of %s on %s: %s", bind->number,
			 bind->source, bind->destination, why);
}

/* --- another mount of the guest's own --- */

static bool is_bind_option(const char *name)
{
	return !strcmp(name, "bind") || !strcmp(name, "rbind");
}

/* The mount becomes one of a file system of the guest; data, if any, is added to the options. */
static int become_mount(struct bind *bind, const char *type, const char *data)
{
	json_t *options = json_array();
	const json_t *option;
	size_t i;

	json_array_foreach (json_object_get(bind->mount, "options"), i, option)
		if (!is_bind_option(json_string_value(option)))
			json_array_append(options, (json_t *)option);
	if (data)
		json_array_append_new(options, json_string(data));
	json_object_set_new(bind->mount, "options", options);
	json_object_set_new(bind->mount, "type", json_string(type));
	return json_object_set_new(bind->mount, "source", json_string(type)) < 0 ? -ENOMEM : 0;
}

/*
 * Engines mount a tmpfs on the host to bind it on /dev/shm, so that containers can share it; those
 * in VMs cannot. A tmpfs in the guest, of that size, is what is left of it, and is memory as it
 * should be. The host's own /dev/shm is another matter: who binds that wants its files.
 */
static bool is_engines_shm(const struct bind *bind)
{
	return !strcmp(bind->destination, "/dev/shm") && strcmp(bind->source, "/dev/shm") != 0 &&
	       bind->fs.f_type == TMPFS_MAGIC;
}

static int become_shm(struct bind *bind)
{
	uint64_t size = (uint64_t)bind->fs.f_blocks * (uint64_t)bind->fs.f_bsize;
	cleanup_free char *data = size ? format("mode=%o,size=%llu", bind->st.st_mode & 07777u,
						(unsigned long long)size)
				       : format("mode=%o", bind->st.st_mode & 07777u);

	return data ? become_mount(bind, "tmpfs", data) : -ENOMEM;
}

/* The host's kernel must not be shown for the guest's. */
static const char *kernel_fs(const struct bind *bind)
{
	switch (bind->fs.f_type) {
	case SYSFS_MAGIC:
		return "sysfs";
	case PROC_SUPER_MAGIC:
		return "proc";
	case CGROUP_SUPER_MAGIC:
	case CGROUP2_SUPER_MAGIC:
		return "cgroup";
	default:
		return NULL;
	}
}

static int become_kernel_fs(struct bind *bind, const char *type, struct error *err)
{
	if (!S_ISDIR(bind->st.st_mode) || bind->st.st_ino != FIRST_INO)
		return refuse(bind, err,
			      "a part of the host's kernel file systems cannot be in a VM");
	return become_mount(bind, type, NULL);
}

/* --- devices --- */

static const struct {
	unsigned int major, minor;
	const char *name;
} devices[] = {
	{1, 3, "null"},	  {1, 5, "zero"},    {1, 7, "full"},
	{1, 8, "random"}, {1, 9, "urandom"}, {5, 0, "tty"},
};

static int add_device(struct binds *binds, const struct bind *bind, struct error *err)
{
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		if (bind->st.st_rdev == makedev(devices[i].major, devices[i].minor))
			return json_array_append_new(binds->how,
						     json_pack("{s:s}", "device", devices[i].name));
	return refuse(bind, err, "a character device of the host cannot be in a VM");
}

/* --- copies --- */

/*
 * What engines write for one container, and read again never or when the container is gone. Any
 * other file is shared, however small: its owner may change it in place at any time.
 */
static bool is_engines_file(const char *destination)
{
	static const char *const files[] = {"/etc/resolv.conf", "/etc/hosts", "/etc/hostname",
					    "/run/.containerenv", "/.dockerenv"};
	static const char secrets[] = "/run/secrets/";

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (!strcmp(destination, files[i]))
			return true;
	return !strncmp(destination, secrets, sizeof(secrets) - 1);
}

static bool is_copied(const struct binds *binds, const struct bind *bind)
{
	return is_engines_file(bind->destination) && bind->st.st_size <= COPY_MAX &&
	       binds->copied + (size_t)bind->st.st_size <= COPY_ALL;
}

static int add_copy(struct binds *binds, const struct bind *bind, struct error *err)
{
	struct error why = {0};
	size_t len;
	cleanup_free char *text = copy_read(bind->fd, &len, &why);

	if (!text)
		return error_set(err, why.code, "mounts[%zu]: read %s", bind->number, bind->source);
	binds->copied += len;
	if (copies_note(binds->copies, bind->number, bind->path, &bind->st) < 0)
		return -1;
	return json_array_append_new(binds->how,
				     json_pack("{s:s, s:I, s:I, s:I, s:I}", "file", text, "mode",
					       (json_int_t)(bind->st.st_mode & 07777), "uid",
					       (json_int_t)bind->st.st_uid, "gid",
					       (json_int_t)bind->st.st_gid, "mtime",
					       (json_int_t)bind->st.st_mtime));
}

/* --- shares --- */

static bool has_propagation(const struct bind *bind, const char *name)
{
	return has_option(bind->mount, name) || has_option(bind->mount, name + 1);
}

static int add_share(struct binds *binds, struct bind *bind, struct error *err)
{
	struct bind_share *shares = reallocarray(binds->shares, binds->share_count + 1,
						 sizeof(*shares));
	struct bind_share *share;

	if (!shares)
		return error_set(err, ENOMEM, "mounts[%zu]", bind->number);
	binds->shares = shares;
	if (has_propagation(bind, "rshared"))
		return refuse(bind, err,
			      "shared: what is mounted in a VM cannot appear on the host; rslave "
			      "is what it can do");
	share = &shares[binds->share_count];
	*share = (struct bind_share){
		.source = strdup(bind->source),
		.fd = take_fd(&bind->fd),
		.directory = S_ISDIR(bind->st.st_mode),
		.readonly = bind->readonly,
		.recursive = bind->recursive,
		.follows = has_propagation(bind, "rslave"),
	};
	binds->share_count++;
	if (!share->source)
		return error_set(err, ENOMEM, "mounts[%zu]", bind->number);
	return json_array_append_new(
		binds->how, json_pack("{s:I}", "share", (json_int_t)(binds->share_count - 1)));
}

/* --- each of them --- */

static int open_source(struct bind *bind, const struct bundle *bundle, struct error *err)
{
	bind->path = *bind->source == '/' ? strdup(bind->source)
					  : format("%s/%s", bundle->path, bind->source);
	bind->fd = bind->path ? open(bind->path, O_PATH | O_CLOEXEC) : -1;
	if (bind->fd < 0 || fstat(bind->fd, &bind->st) < 0 || fstatfs(bind->fd, &bind->fs) < 0)
		return error_set(err, errno, "mounts[%zu].source: %s", bind->number, bind->source);
	return 0;
}

static int add(struct binds *binds, struct bind *bind, struct error *err)
{
	const char *type = kernel_fs(bind);
	int ret;

	switch (bind->st.st_mode & S_IFMT) {
	case S_IFDIR:
		if (!type && !is_engines_shm(bind))
			return add_share(binds, bind, err);
		ret = type ? become_kernel_fs(bind, type, err) : become_shm(bind);
		return ret < 0 ? ret : json_array_append_new(binds->how, json_null());
	case S_IFREG:
		if (type)
			return become_kernel_fs(bind, type, err);
		return is_copied(binds, bind) ? add_copy(binds, bind, err)
					      : add_share(binds, bind, err);
	case S_IFCHR:
		return add_device(binds, bind, err);
	case S_IFBLK:
		return refuse(bind, err, "a block device of the host cannot be bound into a VM");
	case S_IFSOCK:
		return refuse(bind, err, "a socket of the host cannot be reached from a VM");
	default:
		return refuse(bind, err, "a named pipe of the host cannot be reached from a VM");
	}
}

static int look_at(struct binds *binds, const struct bundle *bundle, size_t number, json_t *mount,
		   struct error *err)
{
	struct bind bind = {
		.number = number,
		.mount = mount,
		.source = json_string_value(json_object_get(mount, "source")),
		.destination = json_string_value(json_object_get(mount, "destination")),
		.fd = -1,
		.readonly = is_readonly(mount),
		.recursive = has_option(mount, "rbind"),
	};
	int ret;

	if (!is_bind(mount))
		return json_array_append_new(binds->how, json_null());
	if (!bind.source || !*bind.source)
		return error_say(err, EINVAL, "mounts[%zu].source: is missing", number);
	ret = open_source(&bind, bundle, err);
	if (ret == 0)
		ret = add(binds, &bind, err);
	close_fd(&bind.fd);
	free(bind.path);
	return ret;
}

int binds_prepare(struct binds *binds, const struct bundle *bundle, struct error *err)
{
	json_t *mount;
	size_t i;
	int ret = 0;

	binds->mounts = json_deep_copy(json_object_get(bundle->config, "mounts"));
	binds->how = json_array();
	binds->copies = json_array();
	if (!binds->how || !binds->copies)
		return error_set(err, ENOMEM, "mounts");
	json_array_foreach (binds->mounts, i, mount) {
		ret = look_at(binds, bundle, i, mount, err);
		if (ret < 0)
			/* jansson only says -1. */
			return ret == -1 ? error_set(err, ENOMEM, "mounts[%zu]", i) : ret;
	}
	return ret;
}

void binds_destroy(struct binds *binds)
{
	json_decref(binds->mounts);
	json_decref(binds->how);
	json_decref(binds->copies);
	for (size_t i = 0; i < binds->share_count; i++) {
		free(binds->shares[i].source);
		close_fd(&binds->shares[i].fd);
	}
	free(binds->shares);
	memset(binds, 0, sizeof(*binds));
}
