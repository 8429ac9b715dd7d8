#include "guest-agent/plug.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/path.h"

#define DEVICES "/sys/bus/platform/devices"
#define BIND	"/sys/bus/platform/drivers/virtio-mmio/bind"

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
