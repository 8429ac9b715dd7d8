#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/agent.h"
#include "guest-agent/binds.h"
#include "guest-agent/cgroup.h"
#include "guest-agent/namespaces.h"
#include "guest-agent/rootfs.h"
#include "guest-agent/spec.h"
#include "guest-agent/unified.h"

static int required(const json_t *object, const char *where, const char *key, const json_t **out,
		    struct error *err)
{
	int ret = spec_object(object, where, key, out, err);

	return ret ? ret : error_say(err, EINVAL, "%s.%s: is missing", where, key);
}

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
	    (ret = rootfs_mount(rootfs, err)) < 0 || (ret = binds_make(container->binds, err)) < 0)
		return ret;
	container->cgroup_fd = cgroup_make(container->config, err);
	if (container->cgroup_fd < 0)
		return container->cgroup_fd;
	if ((ret = unified_apply(container->config, container->cgroup_fd, err)) < 0 ||
	    (ret = task_new(agent, PROTO_PROCESS_INIT, &task, err)) < 0)
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
	close_fd(&container->cgroup_fd);
	binds_remove(container->binds);
	rootfs_unmount();
	json_decref(container->document);
	memset(container, 0, sizeof(*container));
	container->cgroup_fd = -1;
}

/* Numbers go round, so that an exit status is kept for WAIT as long as possible. */
static int free_number(struct agent *agent)
{
	for (uint32_t i = 1; i < PROTO_PROCESS_MAX; i++) {
		uint32_t number = (agent->last_number + i - 1) % (PROTO_PROCESS_MAX - 1) + 1;
		struct task *task = agent->tasks[number];

		if (task &&
		    (task->state != TASK_REPORTED || channel_is_open(&task->channels[0]) ||
		     channel_is_open(&task->channels[1]) || channel_is_open(&task->channels[2])))
			continue;
		if (task)
			task_free(task);
		agent->last_number = number;
		return (int)number;
	}
	return -EAGAIN;
}

int container_exec(struct agent *agent, const json_t *process, uint32_t request, struct error *err)
{
	const struct task *init = agent->tasks[PROTO_PROCESS_INIT];
	struct task *task;
	int number, ret;

	if (!init || init->pid < 0 || init->state < TASK_CREATED)
		return error_say(err, ESRCH, "cannot exec in a stopped container");
	number = free_number(agent);
	if (number < 0)
		return error_say(err, EAGAIN, "too many processes were started by exec");
	if ((ret = task_new(agent, (uint32_t)number, &task, err)) < 0)
		return ret;
	ret = task_start(task, process, request, err);
	if (ret < 0) {
		task_free(task);
		error_prefix(err, ret, "unable to start container process");
	}
	return ret;
}
