#include "runtime/container_internal.h"

#define RESTORE_LIMIT 180000 /* ms; the VMM gives up earlier, and says why */

/* Its size is what it was, whatever the bundle says by now: `update` may have changed that. */
int container_open_snapshot(struct container *container, struct making *making, const char *path,
			    struct error *err)
{
	int ret = path ? snapshot_open(&making->snapshot, path, &container->size, err) : 0;

	container->restored = path != NULL;
	if (ret == 0 && path &&
	    (container->binds.share_count || shared_root_used(&container->shared_root) ||
	     container->disks.count))
		ret = error_say(err, ENOTSUP,
				"the bundle has files or devices of the host's, a snapshot cannot");
	return ret;
}

/* Its answer to anything comes from a VM that runs. */
int container_await_restored(struct container *container, struct error *err)
{
	int ret = control_request(&container->control, PROTO_EVENTS, NULL, 0, RESTORE_LIMIT, NULL,
				  err);

	if (ret < 0)
		return ret;
	state_set_phase(&container->state, "created");
	return state_save(&container->state, err);
}
