#include "guest-agent/dm.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/cleanup.h"

#define CONTROL	   "/dev/mapper/control"
#define BLOCK	   4096u
#define SECTOR	   512u
#define PARAMS_MAX 512

/* The ioctl's argument: a header, one target, and the target's parameters behind it. */
struct request {
	struct dm_ioctl head;
	struct dm_target_spec target;
	char params[PARAMS_MAX];
};

static unsigned int made; /* devices so far, which is what they are called by */

static void request_init(struct request *request, unsigned int number)
{
	memset(request, 0, sizeof(*request));
	request->head.version[0] = DM_VERSION_MAJOR;
	request->head.data_size = sizeof(*request);
	request->head.data_start = offsetof(struct request, target);
	request->head.flags = DM_READONLY_FLAG;
	snprintf(request->head.name, sizeof(request->head.name), "layer%u", number);
}

static int load(int control, unsigned int number, const char *type, uint64_t len,
		const char *params, char path[DM_PATH_MAX])
{
	struct request request;

	request_init(&request, number);
	if (ioctl(control, DM_DEV_CREATE, &request) < 0)
		return -errno;
	made = number + 1;
	snprintf(path, DM_PATH_MAX, "/dev/dm-%u", minor(request.head.dev));
	request_init(&request, number);
	request.head.target_count = 1;
	request.target.length = len / SECTOR;
	snprintf(request.target.target_type, sizeof(request.target.target_type), "%s", type);
	snprintf(request.params, sizeof(request.params), "%s", params);
	if (ioctl(control, DM_TABLE_LOAD, &request) < 0)
		return -errno;
	/* Without its flag this ioctl means resume: the table becomes the device. */
	request_init(&request, number);
	return ioctl(control, DM_DEV_SUSPEND, &request) < 0 ? -errno : 0;
}

static int map_part(int control, const char *device, uint64_t offset, uint64_t len,
		    char path[DM_PATH_MAX], struct error *err)
{
	char params[PARAMS_MAX];
	int ret;

	snprintf(params, sizeof(params), "%s %llu", device, (unsigned long long)offset / SECTOR);
	ret = load(control, made, "linear", len, params, path);
	return ret < 0 ? error_set(err, -ret, "device-mapper: part of %s", device) : 0;
}

/* Documentation/admin-guide/device-mapper/verity.rst; the superblock is left out, as we know it. */
static int map_sealed(int control, const char *device, const struct dm_seal *seal,
		      char path[DM_PATH_MAX], struct error *err)
{
	char params[PARAMS_MAX];
	unsigned long long blocks = seal->data_blocks;
	int len, ret;

	len = snprintf(params, sizeof(params), "1 %s %s %u %u %llu %llu sha256 %s %s", device,
		       device, BLOCK, BLOCK, blocks, blocks, seal->root_hash, seal->salt);
	if (len >= (int)sizeof(params))
		return error_say(err, EINVAL, "device-mapper: the seal of %s is too long", device);
	ret = load(control, made, "verity", blocks * BLOCK, params, path);
	return ret < 0 ? error_set(err, -ret, "dm-verity: seal of %s", device) : 0;
}

int dm_map(const char *device, uint64_t offset, uint64_t len, const struct dm_seal *seal,
	   char path[DM_PATH_MAX], struct error *err)
{
	cleanup_fd int control = open(CONTROL, O_RDWR | O_CLOEXEC);
	char part[DM_PATH_MAX];
	int ret;

	if (control < 0)
		return error_set(err, errno, "open " CONTROL " (kernel: CONFIG_BLK_DEV_DM)");
	if (offset % BLOCK || len % BLOCK || !len)
		return error_say(err, EINVAL, "part of %s: not in blocks of %u bytes", device,
				 BLOCK);
	if (seal && seal->data_blocks >= len / BLOCK)
		return error_say(err, EINVAL, "part of %s: no place for its seal", device);
	ret = map_part(control, device, offset, len, seal ? part : path, err);
	return ret < 0 || !seal ? ret : map_sealed(control, part, seal, path, err);
}

void dm_remove_all(void)
{
	cleanup_fd int control = made ? open(CONTROL, O_RDWR | O_CLOEXEC) : -1;

	/* From the last: a sealed one lies on the one before. */
	while (control >= 0 && made > 0) {
		struct request request;

		request_init(&request, --made);
		ioctl(control, DM_DEV_REMOVE, &request);
	}
}
