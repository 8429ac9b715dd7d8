/* What a config.json may say, beside the types of its fields. */
#include "runtime/spec_check.h"
#include "runtime/bundle.h"
#include "runtime/hooks.h"
#include "runtime/spec_fields.h"
#include "runtime/spec_types.h"

#include <stdio.h>
#include <string.h>

static int check_version(json_t *config, struct error *err)
{
	const char *version = json_string_value(json_object_get(config, "ociVersion"));
	unsigned int major, minor;

	if (sscanf(version, "%u.%u", &major, &minor) != 2)
		return error_say(err, EINVAL, "ociVersion: \"%s\" is not a version", version);
	if (major != 1)
		return error_say(err, EINVAL, "ociVersion: %s is not supported, only 1.x is",
				 version);
	return 0;
}

static int check_process(json_t *config, struct error *err)
{
	json_t *process = json_object_get(config, "process");
	json_t *args = json_object_get(process, "args");
	const char *cwd = json_string_value(json_object_get(process, "cwd"));

	if (json_array_size(args) == 0)
		return error_say(err, EINVAL, "process.args: must not be empty");
	if (*cwd != '/')
		return error_say(err, EINVAL, "process.cwd: \"%s\" is not an absolute path", cwd);
	return 0;
}

static int check_mounts(json_t *config, struct error *err)
{
	json_t *mount;
	size_t i;

	json_array_foreach (json_object_get(config, "mounts"), i, mount) {
		const char *to = json_string_value(json_object_get(mount, "destination"));

		if (*to != '/')
			return error_say(err, EINVAL,
					 "mounts[%zu].destination: \"%s\" is not an absolute path",
					 i, to);
	}
	return 0;
}

/* Which of two would be meant cannot be known; runc refuses it too. */
static int check_once(json_t *namespaces, size_t index, const char *type, struct error *err)
{
	for (size_t i = 0; i < index; i++)
		if (!strcmp(type, json_string_value(
					  json_object_get(json_array_get(namespaces, i), "type"))))
			return error_say(err, EINVAL,
					 "linux.namespaces[%zu].type: there is a %s namespace "
					 "already",
					 index, type);
	return 0;
}

/* The network namespace is the host's side of the VM; the others live in the guest's kernel. */
static int check_namespaces(json_t *config, struct error *err)
{
	json_t *namespaces = json_at(config, "linux", "namespaces", NULL), *namespace;
	size_t i;

	json_array_foreach (namespaces, i, namespace) {
		const char *type = json_string_value(json_object_get(namespace, "type"));
		const char *path = json_string_value(json_object_get(namespace, "path"));

		if (check_once(namespaces, i, type, err) < 0)
			return -EINVAL;
		if (path && *path && strcmp(type, "network") != 0)
			return error_say(err, ENOTSUP,
					 "linux.namespaces[%zu].path: a container in a VM cannot "
					 "join the %s namespace %s",
					 i, type, path);
	}
	return 0;
}

/*
 * Engines send a profile of their own wherever the host has AppArmor, and nothing is lost without:
 * the wall is the VM. One that a user chose is a wish that the guest cannot fulfil.
 */
static int check_apparmor(json_t *config, struct error *err)
{
	static const char *const of_engines[] = {"docker-default", "unconfined",
						 "cri-containerd.apparmor.d", "containers-default-",
						 "crio-default"};
	const char *profile =
		json_string_value(json_at(config, "process", "apparmorProfile", NULL));

	if (!profile || !*profile)
		return 0;
	for (size_t i = 0; i < sizeof(of_engines) / sizeof(of_engines[0]); i++)
		if (!strncmp(profile, of_engines[i], strlen(of_engines[i])))
			return 0;
	return error_say(err, ENOTSUP,
			 "process.apparmorProfile: \"%s\": the guest's kernel has no AppArmor",
			 profile);
}

int spec_check_process(json_t *process, struct error *err)
{
	json_t *config = json_pack("{s:O}", "process", process);
	int ret = spec_types_check_part(config, "process", err);

	if (ret == 0)
		ret = check_process(config, err);
	if (ret == 0)
		ret = check_apparmor(config, err);
	if (ret == 0)
		ret = spec_fields_check(config, err);
	json_decref(config);
	return ret;
}

int spec_check_resources(json_t *resources, struct error *err)
{
	json_t *config = json_pack("{s:{s:O}}", "linux", "resources", resources);
	int ret = spec_types_check_part(config, "linux.resources", err);

	json_decref(config);
	return ret;
}

int spec_check_annotations(json_t *config, struct error *err)
{
	return spec_types_check_part(config, "annotations", err);
}

int spec_check(json_t *config, struct error *err)
{
	static int (*const checks[])(json_t *, struct error *) = {
		spec_types_check, check_version, check_process,	 check_mounts,
		check_namespaces, hooks_check,	 check_apparmor, spec_fields_check,
	};

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		int ret = checks[i](config, err);

		if (ret < 0)
			return ret;
	}
	return 0;
}
