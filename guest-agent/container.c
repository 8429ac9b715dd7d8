#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/agent.h"
#include "guest-agent/binds.h"
#include "guest-agent/cgroup.h"
#include "guest-agent/namespaces.h"
#include "guest-agent/rootfs.h"
#include "guest-agent/shares.h"
#include "guest-agent/spec.h"

static int required(const json_t *object, const char *where, const char *key, const json_t **out,
		    struct error *err)
{
	int ret = spec_object(object, where, key, out, err);

	return ret ? ret : error_say(err, EINVAL, "%s.%s: is missing", where, key);
}

static void container_frozen(void *ctx, uint32_t request)
{
	control_reply(ctx, request, NULL, 0);
}

static void container_oom(void *ctx, uint64_t kills)
{
	control_oom(ctx, kills);
}

static const struct cgroup_watch_events watch_events = {
	.frozen = container_frozen,
	.oom = container_oom,
};

static int container_build(struct agent *agent, uint32_t request, struct error *err)
{
	struct container *container = &agent->container;
	const json_t *rootfs, *process;
	struct task *task;
	int ret;

	if ((ret = required(container->document, "body", "config", &container->config, err)) < 0 ||
	    (ret = required(container->document, "body", "rootfs", &rootfs, err)) < 0 ||
	    (ret = required(container->config, "config", "process", &process, err)) < 0 ||
	    (ret = spec_object(container->document, "body", "seccomp", &container->seccomp, err)) <
		    0 ||
	    (ret = spec_array(container->document, "body", "binds", &container->binds, err)) < 0 ||
	    (ret = namespaces_parse(container->config, &container->namespaces, err)) < 0 ||
	    (ret = shares_mount(rootfs, container->binds, err)) < 0 ||
	    (ret = rootfs_mount(rootfs, err)) < 0 || (ret = binds_make(container->binds, err)) < 0)
		return ret;
	container->cgroup_fd = cgroup_make(container->config, err);
	if (container->cgroup_fd < 0)
		return container->cgroup_fd;
	ret = cgroup_watch_start(&container->watch, &agent->loop, container->cgroup_fd,
				 &watch_events, agent, err);
	if (ret < 0 || (ret = task_new(agent, PROTO_PROCESS_INIT, &task, err)) < 0)
		return ret;
	return task_start(task, process, request, err);
}

/* Takes document. The request is answered later, unless this fails. */
int container_create(struct agent *agent, json_t *document, uint32_t request, struct error *err)
{
	int ret;

	if (agent->container.document) {
		json_decref(document);
		return error_say(err, EEXIST, "the VM has a container already");
	}
	agent->container.document = document;
	ret = container_build(agent, request, err);
	if (ret < 0) {
		container_destroy(agent);
		error_prefix(err, ret, "unable to start container process");
	}
	return ret;
}

void container_destroy(struct agent *agent)
{
	struct container *container = &agent->container;

	cgroup_kill(container->cgroup_fd);
	for (uint32_t i = 0; i < PROTO_PROCESS_MAX; i++)
		if (agent->tasks[i])
			task_free(agent->tasks[i]);
	cgroup_watch_stop(&container->watch);
	close_fd(&container->cgroup_fd);
	binds_remove(container->binds);
	rootfs_unmount();
	shares_unmount();
	json_decref(container->document);
	memset(container, 0, sizeof(*container));
	container->cgroup_fd = -1;
}

/* The host has chosen number. An ended process that had it before is only of interest to WAIT. */
int container_exec(struct agent *agent, uint32_t number, const json_t *process, uint32_t request,
		   struct error *err)
{
	const struct task *init = agent->tasks[PROTO_PROCESS_INIT];
	struct task *task = agent->tasks[number];
	int ret;

	if (!init || init->pid < 0 || init->state < TASK_CREATED)
		return error_say(err, ESRCH, "cannot exec in a stopped container");
	if (task && task->state != TASK_REPORTED)
		return error_say(err, EEXIST, "process %u is there already", number);
	if (task)
		task_free(task);
	if ((ret = task_new(agent, number, &task, err)) < 0)
		return ret;
	ret = task_start(task, process, request, err);
	if (ret < 0) {
		task_free(task);
		error_prefix(err, ret, "unable to start container process");
	}
	return ret;
}
