#include "guest-agent/shares.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "guest-agent/rootfs.h"
#include "protocol/protocol.h"

static bool are_used(const json_t *rootfs, const json_t *binds)
{
	if (json_object_get(rootfs, "upper"))
		return true;
	for (size_t i = 0; i < json_array_size(binds); i++)
		if (json_object_get(json_array_get(binds, i), "share"))
			return true;
	return false;
}

/* The mount itself stays in the agent; a bind mount of an entry is a mount of its own. */
int shares_mount(const json_t *rootfs, const json_t *binds, struct error *err)
{
	if (!are_used(rootfs, binds))
		return 0;
	if ((mkdir(ROOTFS_BASE, 0755) < 0 && errno != EEXIST) ||
	    (mkdir(ROOTFS_SHARES, 0755) < 0 && errno != EEXIST))
		return error_set(err, errno, "mkdir " ROOTFS_SHARES);
	if (mount(PROTO_SHARES_TAG, ROOTFS_SHARES, "virtiofs", 0, NULL) < 0)
		return error_set(err, errno, "mount the shares");
	return 0;
}

void shares_unmount(void)
{
	umount2(ROOTFS_SHARES, MNT_DETACH);
}

/*
 * O_DIRECTORY is what makes the kernel mount a directory that the host announces as a file system
 * of its own; a file is never one.
 */
int share_open(long long number, struct error *err)
{
	char path[sizeof(ROOTFS_SHARES) + 24];
	int fd;

	snprintf(path, sizeof(path), ROOTFS_SHARES "/%lld", number);
	fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOTDIR)
		fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && (errno == ENOTCONN || errno == ECONNREFUSED))
		return error_say(err, errno, "virtiofsd, which serves the host's files, has ended");
	return fd < 0 ? error_set(err, errno, "open share %lld", number) : fd;
}
