#include "runtime/launch_config.h"
#include "runtime/bundle.h"
#include "runtime/scratch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CPU_PERIOD 100000 /* microseconds */

/* What container engines give to root. */
static const char *const capabilities[] = {
	"CAP_AUDIT_WRITE", "CAP_CHOWN",	  "CAP_DAC_OVERRIDE",	  "CAP_FOWNER",	    "CAP_FSETID",
	"CAP_KILL",	   "CAP_MKNOD",	  "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",    "CAP_SETFCAP",
	"CAP_SETGID",	   "CAP_SETPCAP", "CAP_SETUID",		  "CAP_SYS_CHROOT",
};

static void set_capabilities(json_t *process)
{
	static const char *const sets[] = {"bounding", "effective", "permitted"};

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		json_t *list = json_array();

		for (size_t k = 0; k < sizeof(capabilities) / sizeof(capabilities[0]); k++)
			json_array_append_new(list, json_string(capabilities[k]));
		json_object_set_new(json_object_get(process, "capabilities"), sets[i], list);
	}
	json_object_set_new(process, "noNewPrivileges", json_false());
}

/* NAME=VALUE takes the place of an earlier one of that name. */
static void set_variable(json_t *env, const char *text)
{
	size_t len = strcspn(text, "=") + 1;
	json_t *item;
	size_t i;

	json_array_foreach (env, i, item)
		if (!strncmp(json_string_value(item), text, len)) {
			json_array_set_new(env, i, json_string(text));
			return;
		}
	json_array_append_new(env, json_string(text));
}

static int set_environment(json_t *process, const struct launch_options *options,
			   const json_t *image, struct error *err)
{
	json_t *env = json_object_get(process, "env");
	json_t *item;
	size_t i;

	if (!options->terminal && json_array_size(env) > 1)
		json_array_remove(env, 1); /* TERM */
	json_array_foreach (json_object_get(image, "Env"), i, item)
		set_variable(env, json_string_value(item));
	for (i = 0; i < options->env_count; i++) {
		const char *text = options->env[i];
		const char *value = strchr(text, '=') ? NULL : getenv(text);
		char *joined;

		if (*text == '=' || !*text)
			return error_say(err, EINVAL, "-e: \"%s\" has no name", text);
		if (strchr(text, '=')) {
			set_variable(env, text);
			continue;
		}
		/* A name alone is the caller's own; one that is not set there is not set here. */
		if (!value)
			continue;
		joined = malloc(strlen(text) + strlen(value) + 2);
		if (!joined)
			return error_set(err, ENOMEM, "-e");
		strcat(strcat(strcpy(joined, text), "="), value);
		set_variable(env, joined);
		free(joined);
	}
	return 0;
}

/* As engines do: an entry point of one's own has the image's arguments forgotten. */
static int set_arguments(json_t *process, const struct launch_options *options, const json_t *image,
			 struct error *err)
{
	json_t *args = json_array();

	if (options->entrypoint && *options->entrypoint)
		json_array_append_new(args, json_string(options->entrypoint));
	else if (!options->entrypoint)
		json_array_extend(args, json_object_get(image, "Entrypoint"));
	for (char **word = options->command; *word; word++)
		json_array_append_new(args, json_string(*word));
	if (!*options->command && !options->entrypoint)
		json_array_extend(args, json_object_get(image, "Cmd"));
	if (json_array_size(args) == 0 && !image)
		json_array_append_new(args, json_string("/bin/sh"));
	json_object_set_new(process, "args", args);
	return json_array_size(args)
		       ? 0
		       : error_say(err, EINVAL, "the image has no command: say one behind --");
}

static int parse_id(const char *text, size_t len, json_int_t *out)
{
	char digits[16];

	if (len == 0 || len > 10 || strspn(text, "0123456789") < len)
		return -EINVAL;
	memcpy(digits, text, len);
	digits[len] = '\0';
	*out = strtoll(digits, NULL, 10);
	return *out <= UINT32_MAX - 1 ? 0 : -EINVAL;
}

/* Names, and a user's group, are in files of the image: the agent looks there. */
static void set_user(json_t *process, const char *user)
{
	size_t len = strcspn(user, ":");
	const char *group = user[len] ? user + len + 1 : "";
	json_int_t uid = 0, gid = 0;

	if (!*user || !strcmp(user, "root") || !strcmp(user, "root:root"))
		return;
	json_object_set_new(process, "user",
			    parse_id(user, len, &uid) == 0 &&
					    parse_id(group, strlen(group), &gid) == 0
				    ? json_pack("{s:I, s:I}", "uid", uid, "gid", gid)
				    : json_pack("{s:s}", "account", user));
}

/* SOURCE:DESTINATION[:ro,...], both absolute. */
static int add_volume(json_t *mounts, const char *text, struct error *err)
{
	size_t from = strcspn(text, ":");
	const char *to = text[from] ? text + from + 1 : "";
	size_t to_len = strcspn(to, ":");
	const char *rest = to[to_len] ? to + to_len + 1 : "";
	json_t *options = json_pack("[s]", "rbind");

	if (*text != '/' || *to != '/') {
		json_decref(options);
		return error_say(err, EINVAL, "-v %s: must be /SOURCE:/DESTINATION[:OPTIONS]",
				 text);
	}
	while (*rest) {
		size_t len = strcspn(rest, ",");

		json_array_append_new(options, json_stringn(rest, len));
		rest += len + (rest[len] == ',');
	}
	json_array_append_new(mounts,
			      json_pack("{s:s%, s:s, s:s%, s:o}", "destination", to, to_len, "type",
					"bind", "source", text, from, "options", options));
	return 0;
}

static int set_resources(json_t *config, const struct launch_options *options, struct error *err)
{
	json_t *resources = json_object_get(json_object_get(config, "linux"), "resources");
	uint64_t bytes;
	double cpus;
	char *end;

	if (options->memory) {
		if (scratch_parse_size(options->memory, &bytes, err) < 0)
			return error_prefix(err, -EINVAL, "--memory");
		json_object_set_new(resources, "memory",
				    json_pack("{s:I}", "limit", (json_int_t)bytes));
	}
	if (!options->cpus)
		return 0;
	cpus = strtod(options->cpus, &end);
	if (*end || end == options->cpus || !(cpus >= 0.01 && cpus <= 64))
		return error_say(err, EINVAL, "--cpus: \"%s\" is not a number from 0.01 to 64",
				 options->cpus);
	json_object_set_new(resources, "cpu",
			    json_pack("{s:I, s:I}", "quota", (json_int_t)(cpus * CPU_PERIOD),
				      "period", (json_int_t)CPU_PERIOD));
	return 0;
}

/* The namespace at PATH in place of one of its own. */
static void set_namespace(json_t *config, const char *path)
{
	json_t *entry;
	size_t i;

	json_array_foreach (json_object_get(json_object_get(config, "linux"), "namespaces"), i,
			    entry) {
		const char *type = json_string_value(json_object_get(entry, "type"));

		if (type && !strcmp(type, "network"))
			json_object_set_new(entry, "path", json_string(path));
	}
}

/* What the settings net and publish understand (docs/network.md). */
static int set_user_net(json_t *annotations, const struct launch_options *options,
			struct error *err)
{
	char publish[LAUNCH_LIST_MAX * 24] = "";
	size_t len = 0;

	json_object_set_new(annotations, "io.bulkhead.net", json_string("user"));
	for (size_t i = 0; i < options->port_count; i++) {
		size_t room = sizeof(publish) - len;
		int n = snprintf(publish + len, room, "%s%s", len ? "," : "", options->ports[i]);

		if (n < 0 || (size_t)n >= room || strchr(options->ports[i], ','))
			return error_say(err, EINVAL, "-p %s: is not HOST:GUEST[/udp]",
					 options->ports[i]);
		len += (size_t)n;
	}
	if (len > 0)
		json_object_set_new(annotations, "io.bulkhead.publish", json_string(publish));
	return 0;
}

static int set_network(json_t *config, const struct launch_options *options, json_t *annotations,
		       struct error *err)
{
	const char *net = options->net ? options->net : "none";

	if (!strcmp(net, "user"))
		return set_user_net(annotations, options, err);
	if (options->port_count > 0)
		return error_say(err, EINVAL, "-p %s: ports are published with --net user alone",
				 options->ports[0]);
	if (!strcmp(net, "none"))
		return 0;
	if (!strncmp(net, "ns=/", 4)) {
		set_namespace(config, net + 3);
		return 0;
	}
	if (!strncmp(net, "tap=", 4)) {
		json_object_set_new(annotations, "io.bulkhead.tap", json_string(net + 4));
		return 0;
	}
	return error_say(err, EINVAL, "--net %s: is not none, user, tap=NAME or ns=/PATH", net);
}

static int fill(json_t *config, const struct launch_options *options, const json_t *image,
		struct error *err)
{
	json_t *process = json_object_get(config, "process"), *annotations = json_object();
	const char *user = json_string_value(json_object_get(image, "User"));
	const char *workdir = json_string_value(json_object_get(image, "WorkingDir"));
	int ret = set_environment(process, options, image, err);

	if (ret == 0)
		ret = set_arguments(process, options, image, err);
	set_user(process, options->user ? options->user : user ? user : "");
	if (ret == 0)
		ret = set_resources(config, options, err);
	for (size_t i = 0; ret == 0 && i < options->volume_count; i++)
		ret = add_volume(json_object_get(config, "mounts"), options->volumes[i], err);
	if (options->workdir)
		workdir = options->workdir;
	json_object_set_new(process, "cwd", json_string(workdir && *workdir ? workdir : "/"));
	json_object_set_new(process, "terminal", json_boolean(options->terminal));
	json_object_set_new(config, "hostname",
			    json_string(options->hostname ? options->hostname : options->name));
	json_object_set_new(config, "root",
			    json_pack("{s:s, s:b}", "path",
				      options->directory ? options->directory : "rootfs",
				      "readonly", options->read_only));
	json_object_set(config, "annotations", annotations);
	if (options->image)
		json_object_set_new(annotations, "io.bulkhead.image", json_string(options->image));
	if (ret == 0)
		ret = set_network(config, options, annotations, err);
	json_decref(annotations);
	return ret;
}

json_t *launch_config(const struct launch_options *options, const json_t *image_config,
		      struct error *err)
{
	json_t *config = spec_default();

	if (!config) {
		error_set(err, ENOMEM, "make the configuration");
		return NULL;
	}
	set_capabilities(json_object_get(config, "process"));
	if (fill(config, options, image_config, err) == 0)
		return config;
	json_decref(config);
	return NULL;
}
