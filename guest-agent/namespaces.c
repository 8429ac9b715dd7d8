#include "guest-agent/namespaces.h"

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "guest-agent/path.h"
#include "guest-agent/spec.h"

#define MAPPINGS_MAX 340 /* the kernel's limit */

static const struct {
	const char *name;
	int flag;
} types[] = {
	{"cgroup", CLONE_NEWCGROUP}, {"ipc", CLONE_NEWIPC},
	{"mount", CLONE_NEWNS},	     {"network", 0},
	{"pid", CLONE_NEWPID},	     {"user", CLONE_NEWUSER},
	{"uts", CLONE_NEWUTS},	     {"time", 0},
};

static int type_flag(const char *name)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(types[i].name, name))
			return types[i].flag;
	return -EINVAL;
}

static int namespace_parse(const json_t *item, size_t i, int *flags, struct error *err)
{
	const char *type = "", *path = NULL;
	char where[48];
	int ret, flag;

	snprintf(where, sizeof(where), "config.linux.namespaces[%zu]", i);
	if ((ret = spec_string(item, where, "type", &type, err)) < 0 ||
	    (ret = spec_string(item, where, "path", &path, err)) < 0)
		return ret;
	flag = type_flag(type);
	if (flag < 0)
		return error_say(err, EINVAL, "%s.type: unknown namespace \"%s\"", where, type);
	if (path && *path && flag)
		return error_say(err, EINVAL,
				 "%s.path: a %s namespace of the host can not be joined from a VM",
				 where, type);
	*flags |= flag;
	return 0;
}

int namespaces_parse(const json_t *config, int *flags, struct error *err)
{
	const json_t *linux_ = NULL, *list = NULL, *item;
	int ret;

	*flags = CLONE_NEWNS;
	if ((ret = spec_object(config, "config", "linux", &linux_, err)) < 0 ||
	    (ret = spec_array(linux_, "config.linux", "namespaces", &list, err)) < 0)
		return ret;
	for (size_t i = 0; ret >= 0 && i < json_array_size(list); i++) {
		ret = spec_element(list, "config.linux.namespaces", i, &item, err);
		if (ret >= 0)
			ret = namespace_parse(item, i, flags, err);
	}
	return ret < 0 ? ret : 0;
}

static int mapping_print(const json_t *item, const char *where, char *text, size_t size,
			 struct error *err)
{
	long long inside = -1, outside = -1, count = -1;
	size_t used = strlen(text);
	int ret;

	if ((ret = spec_int(item, where, "containerID", 0, UINT32_MAX, &inside, err)) < 0 ||
	    (ret = spec_int(item, where, "hostID", 0, UINT32_MAX, &outside, err)) < 0 ||
	    (ret = spec_int(item, where, "size", 1, UINT32_MAX, &count, err)) < 0)
		return ret;
	if (inside < 0 || outside < 0 || count < 0)
		return error_say(err, EINVAL, "%s: needs containerID, hostID and size", where);
	snprintf(text + used, size - used, "%lld %lld %lld\n", inside, outside, count);
	return 0;
}

static int write_map(const json_t *linux_, const char *key, const char *file, pid_t pid,
		     struct error *err)
{
	char text[MAPPINGS_MAX * 36] = "", path[48], where[64];
	const json_t *list = NULL, *item;
	int ret = spec_array(linux_, "config.linux", key, &list, err);

	if (ret < 0)
		return ret;
	if (!json_array_size(list) || json_array_size(list) > MAPPINGS_MAX)
		return error_say(err, EINVAL, "config.linux.%s: must have 1 to %d mappings", key,
				 MAPPINGS_MAX);
	for (size_t i = 0; i < json_array_size(list); i++) {
		snprintf(where, sizeof(where), "config.linux.%s[%zu]", key, i);
		if ((ret = spec_element(list, where, i, &item, err)) < 0 ||
		    (ret = mapping_print(item, where, text, sizeof(text), err)) < 0)
			return ret;
	}
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	ret = path_write(path, text);
	return ret < 0 ? error_set(err, -ret, "write %s", file) : 0;
}

int namespaces_map_users(const json_t *config, pid_t pid, struct error *err)
{
	const json_t *linux_ = NULL;
	int ret;

	if ((ret = spec_object(config, "config", "linux", &linux_, err)) < 0 ||
	    (ret = write_map(linux_, "uidMappings", "uid_map", pid, err)) < 0)
		return ret;
	return write_map(linux_, "gidMappings", "gid_map", pid, err);
}
