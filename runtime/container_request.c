#include "runtime/container_internal.h"

#include "common/cleanup.h"

#include <string.h>

#define CREATE_LIMIT 180000 /* ms; the VMM gives up earlier, and says why */

/* The seccomp profile goes compiled; leaving its source out keeps the body far below its limit. */
static json_t *agent_config(const struct container *container)
{
	json_t *config = json_copy(container->bundle.config);
	json_t *linux_ = json_copy(json_object_get(config, "linux"));

	if (linux_) {
		json_object_del(linux_, "seccomp");
		json_object_set_new(config, "linux", linux_);
	}
	if (container->binds.mounts)
		json_object_set(config, "mounts", container->binds.mounts);
	return config;
}

static json_t *describe_rootfs(const struct container *container, const struct images *images)
{
	json_t *rootfs = images_describe(images);

	/* The last of the shares (shares.h). */
	if (shared_root_used(&container->shared_root))
		json_object_set_new(rootfs, "upper",
				    shared_root_describe(&container->shared_root,
							 container->binds.share_count));
	return rootfs;
}

static char *create_body(const struct container *container, const struct making *making)
{
	json_t *body;
	char *text;

	body = json_pack("{s:s, s:s, s:o, s:o, s:O}", "id", container->state.id, "bundle",
			 container->bundle.path, "config", agent_config(container), "rootfs",
			 describe_rootfs(container, &making->images), "binds",
			 container->binds.how);
	if (making->seccomp)
		json_object_set(body, "seccomp", making->seccomp);
	if (container->disks.how)
		json_object_set(body, "devices", container->disks.how);
	text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	return text;
}

int container_request_create(struct container *container, const struct making *making,
			     struct error *err)
{
	cleanup_free char *body = create_body(container, making);
	int ret;

	if (!body)
		return error_set(err, ENOMEM, "make the request");
	if (strlen(body) > PROTO_BODY_MAX)
		return error_say(err, EMSGSIZE,
				 "%s/" CONFIG_FILE " is too large: %zu bytes, %u can be sent",
				 container->bundle.path, strlen(body), PROTO_BODY_MAX);
	ret = control_request(&container->control, PROTO_CREATE, body, strlen(body), CREATE_LIMIT,
			      NULL, err);
	if (ret < 0)
		return ret;
	state_set_phase(&container->state, "created");
	return state_save(&container->state, err);
}
