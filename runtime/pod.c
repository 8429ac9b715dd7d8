#include "runtime/pod.h"
#include "runtime/json.h"

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

void pod_adapt(json_t *config)
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
}
