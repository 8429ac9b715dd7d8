#include "guest-agent/rootfs.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/forget.h"
#include "guest-agent/dm.h"
#include "guest-agent/drive.h"
#include "guest-agent/shares.h"
#include "guest-agent/spec.h"

static bool upper_is_shared;

#define LAYERS_MAX 500
#define DATA_MAX   4096 /* a page: what mount(2) takes */

/*
 * A layer is a device's name, or an object that says which part of one. "seal" has what dm-verity
 * needs.
 */
static int layer_device(const json_t *layer, size_t i, char device[DM_PATH_MAX], struct error *err)
{
	const char *name = json_string_value(layer);
	const json_t *seal = NULL;
	struct dm_seal known = {0};
	long long offset = 0, size = 0, blocks = 0;
	char where[32];
	int ret;

	snprintf(where, sizeof(where), "rootfs.lower[%zu]", i);
	if (name) {
		snprintf(device, DM_PATH_MAX, "%s", name);
		return 0;
	}
	if (!json_is_object(layer))
		return error_say(err, EINVAL, "%s: must be a string or an object", where);
	if ((ret = spec_string(layer, where, "device", &name, err)) < 0 ||
	    (ret = spec_int(layer, where, "offset", 0, INT64_MAX, &offset, err)) < 0 ||
	    (ret = spec_int(layer, where, "size", 1, INT64_MAX, &size, err)) < 0 ||
	    (ret = spec_object(layer, where, "seal", &seal, err)) < 0)
		return ret;
	if (!name || !size)
		return error_say(err, EINVAL, "%s: device or size is missing", where);
	if (seal && ((ret = spec_string(seal, where, "rootHash", &known.root_hash, err)) < 0 ||
		     (ret = spec_string(seal, where, "salt", &known.salt, err)) < 0 ||
		     (ret = spec_int(seal, where, "dataBlocks", 1, INT64_MAX, &blocks, err)) < 0))
		return ret;
	if (seal && (!known.root_hash || !known.salt || !blocks))
		return error_say(err, EINVAL, "%s.seal: is not complete", where);
	known.data_blocks = (uint64_t)blocks;
	if ((ret = drive_wait(name, err)) < 0)
		return ret;
	return dm_map(name, (uint64_t)offset, (uint64_t)size, seal ? &known : NULL, device, err);
}

/* Names are relative to ROOTFS_BASE, so that many layers fit into one page of mount data. */
static int layer_mount(const json_t *layer, size_t i, char *data, struct error *err)
{
	size_t used = strlen(data);
	char device[DM_PATH_MAX];
	char name[16];
	int ret = layer_device(layer, i, device, err);

	if (ret < 0)
		return ret;
	snprintf(name, sizeof(name), "lower%zu", i);
	if (used + strlen(name) + 96 > DATA_MAX)
		return error_say(err, E2BIG, "rootfs.lower: too many layers");
	if (mkdir(name, 0755) < 0 && errno != EEXIST)
		return error_set(err, errno, "mkdir %s", name);
	if ((ret = drive_wait(device, err)) < 0)
		return ret;
	if (mount(device, name, "erofs", MS_RDONLY, NULL) < 0)
		return error_set(err, errno, "mount layer %zu (%s)", i, device);
	sprintf(data + used, "%s%s", i ? ":" : "lowerdir=", name);
	return 0;
}

static int make_dir(const char *name, struct error *err)
{
	if (mkdir(name, 0755) < 0 && errno != EEXIST)
		return error_set(err, errno, "mkdir %s", name);
	return 0;
}

/*
 * The writable layer. Without a scratch disk it is the agent's own tmpfs: the root is made
 * read-only later, but mount points that the image lacks have to be made before.
 */
static int scratch_mount(const char *device, struct error *err)
{
	int ret = make_dir("scratch", err);

	if (ret < 0)
		return ret;
	if (device && (ret = drive_wait(device, err)) < 0)
		return ret;
	if (device && mount(device, "scratch", "ext4", MS_NOATIME, NULL) < 0)
		return error_set(err, errno, "mount scratch disk %s", device);
	if ((ret = make_dir("scratch/upper", err)) < 0 || (ret = make_dir("scratch/work", err)) < 0)
		return ret;
	return 0;
}

/*
 * The writable layer is a directory of the host's, on which the host's kernel has the same overlay:
 * its attributes are the host's to follow, so nothing but what every overlayfs knows may be written
 * there. The work directory is ours alone.
 */
static int shared_upper(const json_t *upper, char *data, struct error *err)
{
	const char *directory = NULL, *work = NULL;
	long long share = 0;
	size_t used = strlen(data);
	int fd, ret;

	if ((ret = spec_int(upper, "rootfs.upper", "share", 0, INT_MAX, &share, err)) < 0 ||
	    (ret = spec_string(upper, "rootfs.upper", "directory", &directory, err)) < 0 ||
	    (ret = spec_string(upper, "rootfs.upper", "work", &work, err)) < 0)
		return ret;
	if (!directory || !work)
		return error_say(err, EINVAL, "rootfs.upper: directory or work is missing");
	/* The entry becomes a mount when it is first opened. */
	fd = share_open(share, err);
	if (fd < 0)
		return fd;
	close(fd);
	ret = snprintf(data + used, DATA_MAX - used,
		       ",upperdir=shares/%lld/%s,workdir=shares/%lld/%s,uuid=null", share,
		       directory, share, work);
	return (size_t)ret < DATA_MAX - used ? 0 : error_say(err, E2BIG, "rootfs: too many layers");
}

/*
 * One st_dev for all of it (xino), as where all layers are on one file system: tar, du and rsync
 * are told to stay on one.
 */
static int upper_mount(const json_t *rootfs, char *data, struct error *err)
{
	const json_t *upper = NULL;
	const char *scratch = NULL;
	int ret = spec_object(rootfs, "rootfs", "upper", &upper, err);

	if (ret < 0)
		return ret;
	upper_is_shared = upper != NULL;
	if (upper)
		return shared_upper(upper, data, err);
	if ((ret = spec_string(rootfs, "rootfs", "scratch", &scratch, err)) < 0 ||
	    (ret = scratch_mount(scratch, err)) < 0)
		return ret;
	strcat(data, ",upperdir=scratch/upper,workdir=scratch/work");
	return 0;
}

static int layers_mount(const json_t *lower, char *data, struct error *err)
{
	size_t count = json_array_size(lower);
	int ret = 0;

	if (!count || count > LAYERS_MAX)
		return error_say(err, EINVAL, "rootfs.lower: must name 1 to %d layers", LAYERS_MAX);
	for (size_t i = 0; ret >= 0 && i < count; i++)
		ret = layer_mount(json_array_get(lower, i), i, data, err);
	return ret;
}

static int overlay_mount(const json_t *rootfs, struct error *err)
{
	const json_t *lower = NULL;
	bool metacopy = false, userxattr = false;
	char data[DATA_MAX] = "";
	int ret;

	if ((ret = spec_array(rootfs, "rootfs", "lower", &lower, err)) < 0 ||
	    (ret = spec_bool(rootfs, "rootfs", "metacopy", &metacopy, err)) < 0 ||
	    (ret = spec_bool(rootfs, "rootfs", "userxattr", &userxattr, err)) < 0 ||
	    (ret = layers_mount(lower, data, err)) < 0 ||
	    (ret = upper_mount(rootfs, data, err)) < 0 || (ret = make_dir("rootfs", err)) < 0)
		return ret;
	strcat(data, ",xino=on");
	if (metacopy)
		strcat(data, ",metacopy=on");
	if (userxattr)
		strcat(data, ",userxattr");
	if (mount("overlay", "rootfs", "overlay", 0, data) < 0)
		return error_set(err, errno, "mount overlay");
	return 0;
}

void rootfs_changed(void)
{
	cleanup_fd int fd = -1;

	if (!upper_is_shared)
		return;
	fd = open(ROOTFS_PATH, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		forget_names(fd);
}

int rootfs_mount(const json_t *rootfs, struct error *err)
{
	int ret;

	if (mkdir(ROOTFS_BASE, 0755) < 0 && errno != EEXIST)
		return error_set(err, errno, "mkdir " ROOTFS_BASE);
	if (chdir(ROOTFS_BASE) < 0)
		return error_set(err, errno, "chdir " ROOTFS_BASE);
	ret = overlay_mount(rootfs, err);
	if (chdir("/") < 0 && ret >= 0)
		ret = error_set(err, errno, "chdir /");
	if (ret < 0)
		rootfs_unmount();
	return ret;
}

void rootfs_unmount(void)
{
	char name[sizeof(ROOTFS_BASE "/lower") + 8];

	umount2(ROOTFS_PATH, MNT_DETACH);
	umount2(ROOTFS_BASE "/scratch", MNT_DETACH);
	for (size_t i = 0; i < LAYERS_MAX; i++) {
		snprintf(name, sizeof(name), ROOTFS_BASE "/lower%zu", i);
		if (umount2(name, MNT_DETACH) < 0)
			break;
	}
	dm_remove_all();
}
