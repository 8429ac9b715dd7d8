#include "runtime/teardown.h"
#include "runtime/cgroup.h"
#include "runtime/hooks.h"
#include "runtime/shared_root.h"

int teardown(struct state *state, struct error *err)
{
	cleanup_cgroup struct cgroup cgroup = {0};
	int ret = cgroup_load(&cgroup, json_object_get(state->doc, "cgroup"), err);

	if (ret == 0)
		ret = cgroup_remove(&cgroup, err);
	if (ret == 0)
		ret = shared_root_remove(json_object_get(state->doc, "upper"), err);
	if (ret == 0)
		ret = state_remove(state, err);
	if (ret == 0)
		hooks_run_anyway(state, "poststop", "stopped");
	return ret;
}
