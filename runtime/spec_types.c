/* What a config.json may look like, as data: a type for each field the runtime or the agent reads.
 */
#include "runtime/spec_types.h"

#include <stdio.h>
#include <string.h>

#define FIELD_MAX 512

enum type { OBJECT, ARRAY, STRING, UINT, INT, BOOL };

static const char *const wanted[] = {
	"an object",  "an array",      "a string", "an integer that is not negative",
	"an integer", "true or false",
};

#define REQUIRED 1

/*
 * In a path, [] stands for every item of an array and {} for every member of an object. A parent
 * stands before its children. Required holds where the parent is there.
 */
static const struct rule {
	const char *path;
	enum type type;
	int required;
} rules[] = {
	{"ociVersion", STRING, REQUIRED},
	{"hostname", STRING, 0},
	{"domainname", STRING, 0},
	{"annotations", OBJECT, 0},
	{"annotations{}", STRING, 0},
	{"root", OBJECT, REQUIRED},
	{"root.path", STRING, REQUIRED},
	{"root.readonly", BOOL, 0},
	{"process", OBJECT, REQUIRED},
	{"process.terminal", BOOL, 0},
	{"process.consoleSize", OBJECT, 0},
	{"process.consoleSize.height", UINT, REQUIRED},
	{"process.consoleSize.width", UINT, REQUIRED},
	{"process.user", OBJECT, 0},
	{"process.user.account", STRING, 0}, /* launch_config.c; not in the specification */
	{"process.user.uid", UINT, 0},
	{"process.user.gid", UINT, 0},
	{"process.user.umask", UINT, 0},
	{"process.user.additionalGids", ARRAY, 0},
	{"process.user.additionalGids[]", UINT, 0},
	{"process.args", ARRAY, REQUIRED},
	{"process.args[]", STRING, 0},
	{"process.env", ARRAY, 0},
	{"process.env[]", STRING, 0},
	{"process.cwd", STRING, REQUIRED},
	{"process.noNewPrivileges", BOOL, 0},
	{"process.oomScoreAdj", INT, 0},
	{"process.ioPriority", OBJECT, 0},
	{"process.ioPriority.class", STRING, REQUIRED},
	{"process.ioPriority.priority", INT, 0},
	{"process.scheduler", OBJECT, 0},
	{"process.scheduler.policy", STRING, REQUIRED},
	{"process.scheduler.nice", INT, 0},
	{"process.scheduler.priority", INT, 0},
	{"process.scheduler.flags", ARRAY, 0},
	{"process.scheduler.flags[]", STRING, 0},
	{"process.scheduler.runtime", UINT, 0},
	{"process.scheduler.deadline", UINT, 0},
	{"process.scheduler.period", UINT, 0},
	{"process.apparmorProfile", STRING, 0},
	{"process.selinuxLabel", STRING, 0},
	{"process.capabilities", OBJECT, 0},
	{"process.capabilities.bounding", ARRAY, 0},
	{"process.capabilities.bounding[]", STRING, 0},
	{"process.capabilities.effective", ARRAY, 0},
	{"process.capabilities.effective[]", STRING, 0},
	{"process.capabilities.inheritable", ARRAY, 0},
	{"process.capabilities.inheritable[]", STRING, 0},
	{"process.capabilities.permitted", ARRAY, 0},
	{"process.capabilities.permitted[]", STRING, 0},
	{"process.capabilities.ambient", ARRAY, 0},
	{"process.capabilities.ambient[]", STRING, 0},
	{"process.rlimits", ARRAY, 0},
	{"process.rlimits[]", OBJECT, 0},
	{"process.rlimits[].type", STRING, REQUIRED},
	{"process.rlimits[].hard", UINT, REQUIRED},
	{"process.rlimits[].soft", UINT, REQUIRED},
	{"mounts", ARRAY, 0},
	{"mounts[]", OBJECT, 0},
	{"mounts[].destination", STRING, REQUIRED},
	{"mounts[].type", STRING, 0},
	{"mounts[].source", STRING, 0},
	{"mounts[].options", ARRAY, 0},
	{"mounts[].options[]", STRING, 0},
	{"hooks", OBJECT, 0},
	{"hooks{}", ARRAY, 0},
	{"hooks{}[]", OBJECT, 0},
	{"hooks{}[].path", STRING, REQUIRED},
	{"hooks{}[].args", ARRAY, 0},
	{"hooks{}[].args[]", STRING, 0},
	{"hooks{}[].env", ARRAY, 0},
	{"hooks{}[].env[]", STRING, 0},
	{"hooks{}[].timeout", INT, 0},
	{"linux", OBJECT, 0},
	{"linux.namespaces", ARRAY, 0},
	{"linux.namespaces[]", OBJECT, 0},
	{"linux.namespaces[].type", STRING, REQUIRED},
	{"linux.namespaces[].path", STRING, 0},
	{"linux.uidMappings", ARRAY, 0},
	{"linux.uidMappings[]", OBJECT, 0},
	{"linux.uidMappings[].containerID", UINT, REQUIRED},
	{"linux.uidMappings[].hostID", UINT, REQUIRED},
	{"linux.uidMappings[].size", UINT, REQUIRED},
	{"linux.gidMappings", ARRAY, 0},
	{"linux.gidMappings[]", OBJECT, 0},
	{"linux.gidMappings[].containerID", UINT, REQUIRED},
	{"linux.gidMappings[].hostID", UINT, REQUIRED},
	{"linux.gidMappings[].size", UINT, REQUIRED},
	{"linux.devices", ARRAY, 0},
	{"linux.devices[]", OBJECT, 0},
	{"linux.devices[].type", STRING, REQUIRED},
	{"linux.devices[].path", STRING, REQUIRED},
	{"linux.devices[].major", INT, 0},
	{"linux.devices[].minor", INT, 0},
	{"linux.devices[].fileMode", UINT, 0},
	{"linux.devices[].uid", UINT, 0},
	{"linux.devices[].gid", UINT, 0},
	{"linux.cgroupsPath", STRING, 0},
	{"linux.rootfsPropagation", STRING, 0},
	{"linux.personality", OBJECT, 0},
	{"linux.personality.domain", STRING, REQUIRED},
	{"linux.personality.flags", ARRAY, 0},
	{"linux.personality.flags[]", STRING, 0},
	{"linux.mountLabel", STRING, 0},
	{"linux.maskedPaths", ARRAY, 0},
	{"linux.maskedPaths[]", STRING, 0},
	{"linux.readonlyPaths", ARRAY, 0},
	{"linux.readonlyPaths[]", STRING, 0},
	{"linux.sysctl", OBJECT, 0},
	{"linux.sysctl{}", STRING, 0},
	{"linux.resources", OBJECT, 0},
	{"linux.resources.devices", ARRAY, 0},
	{"linux.resources.devices[]", OBJECT, 0},
	{"linux.resources.memory", OBJECT, 0},
	{"linux.resources.memory.limit", INT, 0},
	{"linux.resources.memory.reservation", INT, 0},
	{"linux.resources.memory.swap", INT, 0},
	{"linux.resources.cpu", OBJECT, 0},
	{"linux.resources.cpu.shares", UINT, 0},
	{"linux.resources.cpu.quota", INT, 0},
	{"linux.resources.cpu.period", UINT, 0},
	{"linux.resources.cpu.cpus", STRING, 0},
	{"linux.resources.cpu.mems", STRING, 0},
	{"linux.resources.cpu.burst", UINT, 0},
	{"linux.resources.cpu.idle", INT, 0},
	{"linux.resources.network", OBJECT, 0},
	{"linux.resources.blockIO", OBJECT, 0},
	{"linux.resources.blockIO.weight", UINT, 0},
	{"linux.resources.blockIO.throttleReadBpsDevice", ARRAY, 0},
	{"linux.resources.blockIO.throttleReadBpsDevice[]", OBJECT, 0},
	{"linux.resources.blockIO.throttleReadBpsDevice[].major", UINT, REQUIRED},
	{"linux.resources.blockIO.throttleReadBpsDevice[].minor", UINT, REQUIRED},
	{"linux.resources.blockIO.throttleReadBpsDevice[].rate", UINT, REQUIRED},
	{"linux.resources.blockIO.throttleWriteBpsDevice", ARRAY, 0},
	{"linux.resources.blockIO.throttleWriteBpsDevice[]", OBJECT, 0},
	{"linux.resources.blockIO.throttleWriteBpsDevice[].major", UINT, REQUIRED},
	{"linux.resources.blockIO.throttleWriteBpsDevice[].minor", UINT, REQUIRED},
	{"linux.resources.blockIO.throttleWriteBpsDevice[].rate", UINT, REQUIRED},
	{"linux.resources.blockIO.throttleReadIOPSDevice", ARRAY, 0},
	{"linux.resources.blockIO.throttleReadIOPSDevice[]", OBJECT, 0},
	{"linux.resources.blockIO.throttleReadIOPSDevice[].major", UINT, REQUIRED},
	{"linux.resources.blockIO.throttleReadIOPSDevice[].minor", UINT, REQUIRED},
	{"linux.resources.blockIO.throttleReadIOPSDevice[].rate", UINT, REQUIRED},
	{"linux.resources.blockIO.throttleWriteIOPSDevice", ARRAY, 0},
	{"linux.resources.blockIO.throttleWriteIOPSDevice[]", OBJECT, 0},
	{"linux.resources.blockIO.throttleWriteIOPSDevice[].major", UINT, REQUIRED},
	{"linux.resources.blockIO.throttleWriteIOPSDevice[].minor", UINT, REQUIRED},
	{"linux.resources.blockIO.throttleWriteIOPSDevice[].rate", UINT, REQUIRED},
	{"linux.resources.unified", OBJECT, 0},
	{"linux.resources.unified{}", STRING, 0},
	{"linux.resources.pids", OBJECT, 0},
	{"linux.resources.pids.limit", INT, 0},
	{"linux.seccomp", OBJECT, 0},
	{"linux.seccomp.defaultAction", STRING, REQUIRED},
	{"linux.seccomp.defaultErrnoRet", UINT, 0},
	{"linux.seccomp.architectures", ARRAY, 0},
	{"linux.seccomp.architectures[]", STRING, 0},
	{"linux.seccomp.flags", ARRAY, 0},
	{"linux.seccomp.flags[]", STRING, 0},
	{"linux.seccomp.syscalls", ARRAY, 0},
	{"linux.seccomp.syscalls[]", OBJECT, 0},
	{"linux.seccomp.syscalls[].names", ARRAY, REQUIRED},
	{"linux.seccomp.syscalls[].names[]", STRING, 0},
	{"linux.seccomp.syscalls[].action", STRING, REQUIRED},
	{"linux.seccomp.syscalls[].errnoRet", UINT, 0},
	{"linux.seccomp.syscalls[].args", ARRAY, 0},
	{"linux.seccomp.syscalls[].args[]", OBJECT, 0},
	{"linux.seccomp.syscalls[].args[].index", UINT, REQUIRED},
	{"linux.seccomp.syscalls[].args[].value", UINT, REQUIRED},
	{"linux.seccomp.syscalls[].args[].valueTwo", UINT, 0},
	{"linux.seccomp.syscalls[].args[].op", STRING, REQUIRED},
};

static const char *type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a number with a fraction or beyond 64 bits";
	case JSON_NULL:
		return "null";
	default:
		return "true or false";
	}
}

/*
 * JSON has one kind of number. What does not fit in jansson's signed 64 bits (an rlimit of 2^64-1)
 * comes as a real, and is a valid unsigned integer all the same.
 */
static bool is_whole(const json_t *value)
{
	double real = json_real_value(value);

	return json_is_real(value) && real >= 9.2e18 && real <= 18446744073709551616.0;
}

static bool has_type(const json_t *value, enum type type)
{
	switch (type) {
	case OBJECT:
		return json_is_object(value);
	case ARRAY:
		return json_is_array(value);
	case STRING:
		return json_is_string(value);
	case UINT:
		return (json_is_integer(value) && json_integer_value(value) >= 0) ||
		       is_whole(value);
	case INT:
		return json_is_integer(value);
	default:
		return json_is_boolean(value);
	}
}

/* Where in the document a value stands, for who has to be told. */
struct place {
	const struct place *parent;
	const char *name; /* len bytes; NULL: an item of an array */
	size_t len, index;
};

static size_t write_place(const struct place *place, char *text, size_t size)
{
	size_t used;

	if (!place)
		return (size_t)snprintf(text, size, "%s", "");
	used = write_place(place->parent, text, size);
	if (used >= size)
		return used;
	if (!place->name)
		return used + (size_t)snprintf(text + used, size - used, "[%zu]", place->index);
	return used + (size_t)snprintf(text + used, size - used, "%s%.*s", used ? "." : "",
				       (int)place->len, place->name);
}

static int check_rule(json_t *value, const char *path, const struct rule *rule,
		      const struct place *place, struct error *err);

static int check_items(json_t *value, const char *path, const struct rule *rule,
		       const struct place *parent, struct error *err)
{
	struct place place = {.parent = parent};
	json_t *item;
	int ret = 0;

	if (*path == '[') {
		json_array_foreach (value, place.index, item)
			if ((ret = check_rule(item, path + 2, rule, &place, err)) < 0)
				return ret;
		return 0;
	}
	json_object_foreach (value, place.name, item) {
		place.len = strnlen(place.name, 100);
		if ((ret = check_rule(item, path + 2, rule, &place, err)) < 0)
			return ret;
	}
	return 0;
}

/* Goes down path from value. */
static int check_rule(json_t *value, const char *path, const struct rule *rule,
		      const struct place *parent, struct error *err)
{
	struct place place = {.parent = parent};
	char field[FIELD_MAX];
	json_t *child;

	if (!*path) {
		if (has_type(value, rule->type))
			return 0;
		write_place(parent, field, sizeof(field));
		return error_say(err, EINVAL, "%s: must be %s, is %s", field, wanted[rule->type],
				 type_name(value));
	}
	if (*path == '[' || *path == '{')
		return check_items(value, path, rule, parent, err);
	place.name = path + (*path == '.');
	place.len = strcspn(place.name, ".[{");
	path = place.name + place.len;
	child = json_object_getn(value, place.name, place.len);
	/* Go writes null for an empty slice or pointer: the same as absent. */
	if (child && !json_is_null(child))
		return check_rule(child, path, rule, &place, err);
	if (!rule->required || *path || json_is_null(value))
		return 0;
	write_place(&place, field, sizeof(field));
	return error_say(err, EINVAL, "%s: is missing", field);
}

int spec_types_check(json_t *config, struct error *err)
{
	if (!json_is_object(config))
		return error_say(err, EINVAL, "must be an object, is %s", type_name(config));
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		int ret = check_rule(config, rules[i].path, &rules[i], NULL, err);

		if (ret < 0)
			return ret;
	}
	return 0;
}

int spec_types_check_part(json_t *config, const char *path, struct error *err)
{
	int ret = config ? 0 : error_set(err, ENOMEM, "%s", path);

	for (size_t i = 0; ret == 0 && i < sizeof(rules) / sizeof(rules[0]); i++)
		if (!strncmp(rules[i].path, path, strlen(path)))
			ret = check_rule(config, rules[i].path, &rules[i], NULL, err);
	return ret;
}

bool spec_types_know(const char *pattern)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (!strcmp(rules[i].path, pattern))
			return true;
	return false;
}
