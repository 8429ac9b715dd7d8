#include "runtime/pod.h"
#include "runtime/bundle.h"
#include "runtime/json.h"
#include "runtime/state.h"

#include "common/log.h"

#include <string.h>

static bool is_type(const json_t *config, const char *type)
{
	static const char *const names[] = {
		"io.kubernetes.cri.container-type",
		"io.kubernetes.cri-o.ContainerType",
	};
	json_t *annotations = json_object_get(config, "annotations");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = json_string_value(json_object_get(annotations, names[i]));

		if (value && !strcmp(value, type))
			return true;
	}
	return false;
}

bool pod_is_sandbox(const json_t *config)
{
	return is_type(config, "sandbox");
}

/* CRI gives every container the pod's host name in its environment too. */
static void set_hostname(json_t *config)
{
	json_t *entry;
	size_t i;

	if (json_object_get(config, "hostname"))
		return;
	json_array_foreach (json_at(config, "process", "env", NULL), i, entry) {
		const char *text = json_string_value(entry);

		if (text && !strncmp(text, "HOSTNAME=", 9) && text[9])
			json_object_set_new(config, "hostname", json_string(text + 9));
	}
}

static const char *sandbox_id(const json_t *config)
{
	const json_t *annotations = json_object_get(config, "annotations");
	const json_t *id = json_object_get(annotations, "io.kubernetes.cri.sandbox-id");

	return json_string_value(
		id ?: json_object_get(annotations, "io.kubernetes.cri-o.SandboxID"));
}

static void take_sysctls(json_t *config, json_t *sandbox)
{
	json_t *from = json_at(sandbox, "linux", "sysctl", NULL);
	json_t *linux_ = json_object_get(config, "linux");
	json_t *own = json_object_get(linux_, "sysctl");

	if (!json_is_object(from) || !json_is_object(linux_))
		return;
	if (!own) {
		own = json_object();
		json_object_set_new(linux_, "sysctl", own);
	}
	json_object_update_missing(own, from);
}

/* A sandbox of another runtime has no state here, and then nothing of it is known. */
static void inherit(json_t *config, const char *root)
{
	cleanup_bundle struct bundle bundle = BUNDLE_INIT;
	cleanup_state struct state state = STATE_INIT;
	const char *id = sandbox_id(config);
	struct error err = {0};

	if (!id || state_check_id(id, &err) < 0 || state_peek(&state, root, id, &err) < 0 ||
	    bundle_read(&bundle, state_bundle(&state), &err) < 0)
		log_debug("pod: the sandbox's sysctls are not known: %s", err.message);
	else
		take_sysctls(config, bundle.config);
}

void pod_adapt(json_t *config, const char *root)
{
	json_t *namespace;
	size_t i;

	if (!is_type(config, "container"))
		return;
	json_array_foreach (json_at(config, "linux", "namespaces", NULL), i, namespace) {
		const char *type = json_string_value(json_object_get(namespace, "type"));

		if (type && (!strcmp(type, "pid") || !strcmp(type, "ipc") || !strcmp(type, "uts")))
			json_object_del(namespace, "path");
	}
	set_hostname(config);
	inherit(config, root);
}
