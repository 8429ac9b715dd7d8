#include "guest-agent/unified.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/unified.h"
#include "guest-agent/spec.h"

#define WHERE "resources.unified"

static int apply(int cgroup_fd, const char *key, const char *text, struct error *err)
{
	cleanup_fd int fd = -1;

	if (!text || strchr(key, '/'))
		return error_say(err, EINVAL, WHERE ".%s: is not a file's name and a string", key);
	fd = openat(cgroup_fd, key, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return error_say(err, ENOENT, WHERE ".%s: the VM's kernel has no such limit", key);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return error_set(err, errno, WHERE ".%s: write %s", key, text);
	return 0;
}

int unified_apply(const json_t *resources, int cgroup_fd, struct error *err)
{
	const json_t *unified = NULL;
	const char *key;
	json_t *value;
	int ret = spec_object(resources, "resources", "unified", &unified, err);

	if (ret <= 0)
		return ret;
	json_object_foreach ((json_t *)unified, key, value) {
		if (!unified_is_guests(key))
			continue;
		ret = apply(cgroup_fd, key, json_string_value(value), err);
		if (ret < 0)
			return ret;
	}
	return 0;
}
