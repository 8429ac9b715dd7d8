#include "runtime/spec_fields.h"
#include "runtime/spec_types.h"

#include "common/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define PATTERN_MAX 256

/*
 * Fields that do not reach the container. With a reason they are refused unless they say nothing
 * (null, false, 0, empty); without one they are accepted, and docs/conformance.md says why.
 */
static const struct field {
	const char *pattern; /* as in spec_check.c: [] for items */
	const char *refusal;
} fields[] = {
	{"solaris", "only Linux containers are supported"},
	{"windows", "only Linux containers are supported"},
	{"zos", "only Linux containers are supported"},
	{"freebsd", "only Linux containers are supported"},
	{"vm", "say it by the annotations io.bulkhead.kernel, initramfs and kernel-cmdline"},
	{"process.commandLine", "only Linux containers are supported"},
	{"process.execCPUAffinity", "is not supported"},
	{"process.user.username", "only Linux containers are supported"},
	{"process.selinuxLabel", NULL},
	{"mounts[].uidMappings", "mounts with ids of their own are not supported"},
	{"mounts[].gidMappings", "mounts with ids of their own are not supported"},
	{"linux.intelRdt", "is not supported"},
	{"linux.memoryPolicy", "the guest has one memory node"},
	{"linux.mountLabel", NULL},
	{"linux.netDevices", "a network device of the host cannot be moved into a VM"},
	{"linux.timeOffsets", "is not supported"},
	{"linux.resources.hugepageLimits", NULL},
	{"linux.resources.memory.checkBeforeUpdate", NULL},
	{"linux.resources.memory.disableOOMKiller", "cgroup v2, which the guest has, cannot"},
	{"linux.resources.memory.kernel", NULL},
	{"linux.resources.memory.kernelTCP", NULL},
	{"linux.resources.memory.swappiness", NULL},
	{"linux.resources.memory.useHierarchy", NULL},
	{"linux.resources.cpu.realtimePeriod", "cgroup v2, which the guest has, cannot"},
	{"linux.resources.cpu.realtimeRuntime", "cgroup v2, which the guest has, cannot"},
	{"linux.resources.blockIO.leafWeight", "cgroup v2, which the guest has, cannot"},
	{"linux.resources.blockIO.weightDevice", "is not supported"},
	{"linux.resources.network.classID", "cgroup v2, which the guest has, cannot"},
	{"linux.resources.network.priorities", "cgroup v2, which the guest has, cannot"},
	{"linux.resources.rdma", NULL},
	{"linux.seccomp.listenerPath",
	 "a process of the host cannot answer for the guest's kernel"},
	{"linux.seccomp.listenerMetadata", "is for listenerPath, which is not supported"},
	/* The filter's compiler knows its own fields. */
	{"linux.seccomp.syscalls", NULL},
	/* Engines' wishes for the host's devices; the guest has none of them. */
	{"linux.resources.devices", NULL},
};

static const struct field *find(const char *pattern)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (!strcmp(fields[i].pattern, pattern))
			return &fields[i];
	return NULL;
}

static bool says_nothing(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return json_object_size(value) == 0;
	case JSON_ARRAY:
		return json_array_size(value) == 0;
	case JSON_STRING:
		return json_string_length(value) == 0;
	case JSON_INTEGER:
		return json_integer_value(value) == 0;
	case JSON_NULL:
	case JSON_FALSE:
		return true;
	default:
		return false;
	}
}

static int check(json_t *value, const char *pattern, struct error *err);

static int check_member(json_t *value, const char *pattern, struct error *err)
{
	const struct field *field = find(pattern);

	if (field) {
		if (!field->refusal || says_nothing(value))
			return 0;
		return error_say(err, ENOTSUP, "%s: %s", pattern, field->refusal);
	}
	if (!spec_types_know(pattern)) {
		log_warn("config.json: %s is not a field of the specification: ignored", pattern);
		return 0;
	}
	return check(value, pattern, err);
}

static int check(json_t *value, const char *pattern, struct error *err)
{
	char inner[PATTERN_MAX];
	const char *name;
	json_t *item;
	size_t i;
	int ret = 0;

	if (json_is_array(value)) {
		snprintf(inner, sizeof(inner), "%s[]", pattern);
		json_array_foreach (value, i, item)
			if (ret == 0 && json_is_object(item))
				ret = check(item, inner, err);
	}
	if (!json_is_object(value))
		return ret;
	/* Any name at all: annotations, sysctls. */
	snprintf(inner, sizeof(inner), "%s{}", pattern);
	if (spec_types_know(inner))
		return 0;
	json_object_foreach (value, name, item) {
		snprintf(inner, sizeof(inner), "%s%s%.64s", pattern, *pattern ? "." : "", name);
		ret = check_member(item, inner, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int spec_fields_check(json_t *config, struct error *err)
{
	return check(config, "", err);
}
