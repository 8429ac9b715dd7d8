/* Where the time of a start-up went, from the runtime's own start. */
#include "runtime/container.h"
#include "runtime/file.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define STATUS_LIMIT 2000 /* ms */

struct moment {
	const char *key, *words; /* words NULL: only in the JSON */
	uint64_t ns;
};

static double since_start(const struct globals *globals, uint64_t ns)
{
	return ns > globals->started_ns ? (double)(ns - globals->started_ns) / 1e6 : 0;
}

static void log_moments(const struct globals *globals, const struct moment *moments, size_t count)
{
	char line[512] = "";
	size_t used = 0;

	for (size_t i = 0; i < count; i++)
		if (moments[i].words && moments[i].ns)
			used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%s %.1f ms",
						 used ? ", " : "", moments[i].words,
						 since_start(globals, moments[i].ns));
	log_debug("start-up: %s", line);
}

static const char *template_word(uint32_t use)
{
	switch (use) {
	case PROTO_TEMPLATE_USED:
		return "used";
	case PROTO_TEMPLATE_REFUSED:
		return "refused";
	default:
		return "none";
	}
}

static int write_moments(const struct globals *globals, const struct moment *moments, size_t count,
			 const char *template, const char *path, struct error *err)
{
	json_t *doc = json_object();
	cleanup_free char *text = NULL;

	if (template)
		json_object_set_new(doc, "template", json_string(template));
	for (size_t i = 0; i < count; i++)
		if (moments[i].ns)
			json_object_set_new(doc, moments[i].key,
					    json_real(since_start(globals, moments[i].ns)));
	text = json_dumps(doc, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	json_decref(doc);
	if (!text)
		return error_set(err, ENOMEM, "write %s", path);
	return file_replace(AT_FDCWD, path, 0644, text, strlen(text), err);
}

int container_tell_timings(struct container *container, const struct globals *globals,
			   const char *path, struct error *err)
{
	struct proto_status status;
	struct error ignored = {0};
	bool known;

	if (!path && !log_enabled(LOG_LEVEL_DEBUG))
		return 0;
	/* A workload that was quick to end may have taken its VMM with it, and what that knew. */
	known = control_status(&container->control, &status, STATUS_LIMIT, &ignored) == 0;
	if (!known)
		memset(&status, 0, sizeof(status));
	const struct moment moments[] = {
		{"config_checked_ms", NULL, container->config_ns},
		{"images_ready_ms", "images ready", container->images_ns},
		{"vmm_started_ms", NULL, status.vmm_started_ns},
		{"vm_created_ms", "vm created", status.vm_created_ns},
		{"kernel_entered_ms", "kernel entered", status.kernel_entered_ns},
		{"agent_ready_ms", "agent ready", status.agent_ready_ns},
		{"created_ms", "created", status.created_ns},
		{"started_ms", "workload started", status.started_ns},
	};
	size_t count = sizeof(moments) / sizeof(moments[0]);

	log_moments(globals, moments, count);
	return path ? write_moments(globals, moments, count,
				    known ? template_word(status.template_use) : NULL, path, err)
		    : 0;
}
