#include "guest-agent/plug.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/path.h"

#define DEVICES "/sys/bus/platform/devices"
#define DRIVER	"/sys/bus/platform/drivers/virtio-mmio"
#define BIND	DRIVER "/bind"
#define UNBIND	DRIVER "/unbind"

static bool waits_for_driver(const char *name)
{
	const char *kind = strrchr(name, '.');
	char path[sizeof(DEVICES) + 270];

	snprintf(path, sizeof(path), DEVICES "/%s/driver", name);
	return kind && strcmp(kind, ".virtio") == 0 && access(path, F_OK) < 0;
}

int plug_devices(struct error *err)
{
	cleanup_dir DIR *dir = opendir(DEVICES);
	const struct dirent *entry;
	int ret;

	if (!dir)
		return error_set(err, errno, DEVICES);
	while ((entry = readdir(dir))) {
		if (!waits_for_driver(entry->d_name))
			continue;
		/* ENODEV: it is a placeholder still. */
		ret = path_write(BIND, entry->d_name);
		if (ret < 0 && ret != -ENODEV)
			return error_set(err, -ret, "bind the driver to %s", entry->d_name);
	}
	return 0;
}

int unplug_interface(const char *name, struct error *err)
{
	char path[64];
	cleanup_free char *device = NULL;
	int ret;

	/* What the virtio device is on: the one that the driver is bound to. */
	snprintf(path, sizeof(path), "/sys/class/net/%s/device/..", name);
	device = realpath(path, NULL);
	if (!device)
		return error_set(err, errno, "%s", path);
	ret = path_write(UNBIND, strrchr(device, '/') + 1);
	return ret < 0 ? error_set(err, -ret, "take the driver from %s", device) : 0;
}
