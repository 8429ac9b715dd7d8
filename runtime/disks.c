#include "runtime/disks.h"
#include "runtime/file.h"
#include "runtime/json.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum access { DENIED, READ, READ_WRITE };

static bool is_number(const json_t *rule, const char *name, unsigned int number)
{
	const json_t *value = json_object_get(rule, name);

	return json_is_integer(value) && json_integer_value(value) == (json_int_t)number;
}

/* Of the rules that mean this one device the last counts; those for any are no wish to have it. */
static enum access allowed(json_t *config, dev_t device)
{
	const json_t *rules = json_at(config, "linux", "resources", "devices", NULL);
	enum access access = DENIED;
	const json_t *rule;
	size_t i;

	json_array_foreach (rules, i, rule) {
		const char *type = json_string_value(json_object_get(rule, "type"));
		const char *how = json_string_value(json_object_get(rule, "access"));

		if (!type || strcmp(type, "b") != 0 || !is_number(rule, "major", major(device)) ||
		    !is_number(rule, "minor", minor(device)))
			continue;
		if (how && !strpbrk(how, "rw"))
			continue; /* to make nodes of it */
		if (!json_is_true(json_object_get(rule, "allow")))
			access = DENIED;
		else if (!how || strchr(how, 'w'))
			access = READ_WRITE;
		else
			access = READ;
	}
	return access;
}

/* The kernel knows its name; what has that name must be the device that was meant. */
static int open_device(dev_t device, bool readonly)
{
	char link[64], name[256] = "";
	cleanup_free char *path = NULL;
	cleanup_fd int fd = -1;
	struct stat st;
	ssize_t len;

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(device), minor(device));
	len = readlink(link, name, sizeof(name) - 1);
	if (len < 0 || !strrchr(name, '/'))
		return -ENXIO;
	path = format("/dev%s", strrchr(name, '/'));
	if (!path)
		return -ENOMEM;
	/* In sysfs "!" stands for a slash. */
	for (char *at = path; (at = strchr(at, '!'));)
		*at = '/';
	fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) || st.st_rdev != device)
		return -ENXIO;
	return take_fd(&fd);
}

static int add(struct disks *disks, const json_t *entry, size_t number, enum access access,
	       dev_t device, struct error *err)
{
	const char *path = json_string_value(json_object_get(entry, "path"));
	int fd;

	if (disks->count == DISKS_MAX)
		return error_say(err, E2BIG, "linux.devices: more than %d block devices",
				 DISKS_MAX);
	fd = open_device(device, access == READ);
	if (fd < 0)
		return error_set(err, -fd, "linux.devices[%zu]: %s: open block device %u:%u",
				 number, path ?: "", major(device), minor(device));
	disks->entries[disks->count] = number;
	disks->disks[disks->count++] = (struct disk){.fd = fd, .readonly = access == READ};
	return 0;
}

int disks_open(struct disks *disks, const struct bundle *bundle, struct error *err)
{
	const json_t *entry;
	size_t i;
	int ret = 0;

	json_array_foreach (json_at(bundle->config, "linux", "devices", NULL), i, entry) {
		const char *type = json_string_value(json_object_get(entry, "type"));
		dev_t device =
			makedev((unsigned int)json_integer_value(json_object_get(entry, "major")),
				(unsigned int)json_integer_value(json_object_get(entry, "minor")));
		enum access access;

		if (!type || strcmp(type, "b") != 0)
			continue;
		access = allowed(bundle->config, device);
		if (access == DENIED)
			log_debug("linux.devices[%zu]: %u:%u is not given to the VM: no rule of "
				  "linux.resources.devices allows it by its number",
				  i, major(device), minor(device));
		else
			ret = add(disks, entry, i, access, device, err);
		if (ret < 0)
			break;
	}
	return ret;
}

int disks_describe(struct disks *disks, const struct bundle *bundle, size_t before)
{
	size_t count = json_array_size(json_at(bundle->config, "linux", "devices", NULL));
	size_t next = 0;
	char name[] = "/dev/vda";

	json_decref(disks->how);
	disks->how = disks->count ? json_array() : NULL;
	for (size_t i = 0; disks->how && i < count; i++) {
		json_t *value = NULL;

		if (next < disks->count && disks->entries[next] == i) {
			name[sizeof(name) - 2] = (char)('a' + before + next++);
			value = json_string(name);
		}
		json_array_append_new(disks->how, value ?: json_null());
	}
	return disks->count && !disks->how ? -ENOMEM : 0;
}

void disks_close(struct disks *disks)
{
	while (disks->count > 0)
		close_fd(&disks->disks[--disks->count].fd);
	json_decref(disks->how);
	disks->how = NULL;
}
