#include "guest-agent/rootfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/drive.h"
#include "guest-agent/spec.h"

#define LAYERS_MAX 500
#define DATA_MAX   4096 /* a page: what mount(2) takes */

/* Names are relative to ROOTFS_BASE, so that many layers fit into one page of mount data. */
static int layer_mount(const char *device, size_t i, char *data, struct error *err)
{
	size_t used = strlen(data);
	char name[16];

	snprintf(name, sizeof(name), "lower%zu", i);
	if (used + strlen(name) + 64 > DATA_MAX)
		return error_say(err, E2BIG, "rootfs.lower: too many layers");
	if (mkdir(name, 0755) < 0 && errno != EEXIST)
		return error_set(err, errno, "mkdir %s", name);
	if (drive_wait(device, err) < 0)
		return -EIO;
	if (mount(device, name, "erofs", MS_RDONLY, NULL) < 0)
		return error_set(err, errno, "mount layer %s", device);
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

static int layers_mount(const json_t *lower, char *data, struct error *err)
{
	size_t count = json_array_size(lower);
	int ret = 0;

	if (!count || count > LAYERS_MAX)
		return error_say(err, EINVAL, "rootfs.lower: must name 1 to %d layers", LAYERS_MAX);
	for (size_t i = 0; ret >= 0 && i < count; i++) {
		const char *device = json_string_value(json_array_get(lower, i));

		if (!device)
			return error_say(err, EINVAL, "rootfs.lower[%zu]: must be a string", i);
		ret = layer_mount(device, i, data, err);
	}
	return ret;
}

static int overlay_mount(const json_t *rootfs, struct error *err)
{
	const json_t *lower = NULL;
	const char *scratch = NULL;
	char data[DATA_MAX] = "";
	int ret;

	if ((ret = spec_array(rootfs, "rootfs", "lower", &lower, err)) < 0 ||
	    (ret = spec_string(rootfs, "rootfs", "scratch", &scratch, err)) < 0 ||
	    (ret = layers_mount(lower, data, err)) < 0 || (ret = scratch_mount(scratch, err)) < 0 ||
	    (ret = make_dir("rootfs", err)) < 0)
		return ret;
	strcat(data, ",upperdir=scratch/upper,workdir=scratch/work");
	if (mount("overlay", "rootfs", "overlay", 0, data) < 0)
		return error_set(err, errno, "mount overlay");
	return 0;
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
}
