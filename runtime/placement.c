#include "runtime/placement.h"
#include "runtime/bundle.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int open_netns(const char *path, struct error *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return error_set(err, errno, "linux.namespaces: open the network namespace %s",
				 path);
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return error_say(err, EINVAL, "linux.namespaces: %s is not a network namespace",
				 path);
	return take_fd(&fd);
}

/*
 * No entry: the runtime's own. An entry without a path: a new one, which an ordinary user cannot
 * make: the VMM stays in that user's, where its filters let it make no socket, and the guest has lo
 * alone as in a new one.
 */
static int find_netns(struct placement *placement, const json_t *config, struct error *err)
{
	json_t *namespace;
	size_t i;

	json_array_foreach (json_at((json_t *)config, "linux", "namespaces", NULL), i, namespace) {
		const char *type = json_string_value(json_object_get(namespace, "type"));
		const char *path = json_string_value(json_object_get(namespace, "path"));

		if (strcmp(type, "network") != 0)
			continue;
		placement->lo_alone = (!path || !*path) && geteuid() != 0;
		placement->new_netns = (!path || !*path) && !placement->lo_alone;
		if (!path || !*path)
			return 0;
		placement->netns_fd = open_netns(path, err);
		return placement->netns_fd < 0 ? placement->netns_fd : 0;
	}
	return 0;
}

static int plan_groups(struct placement *placement, const json_t *config, const char *id,
		       struct error *err)
{
	switch (placement->manager) {
	case CGROUP_FS:
		return cgroup_plan(&placement->cgroup, config, id, err);
	case CGROUP_SYSTEMD:
		return cgroup_name_scope(&placement->cgroup, config, id, err);
	default:
		return 0;
	}
}

int placement_prepare(struct placement *placement, enum cgroup_manager manager,
		      const json_t *config, const char *id, struct error *err)
{
	const json_t *score = json_at((json_t *)config, "process", "oomScoreAdj", NULL);
	int ret = find_netns(placement, config, err);

	if (ret < 0)
		return ret;
	if (json_is_integer(score))
		snprintf(placement->oom_score_adj, sizeof(placement->oom_score_adj), "%d",
			 (int)json_integer_value(score));
	placement->manager = manager;
	return plan_groups(placement, config, id, err);
}

static int set_oom_score(const char *text)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
	int code = errno;

	if (fd >= 0)
		close(fd);
	return n < 0 ? -code : 0;
}

int placement_enter(const struct placement *placement, bool in_cgroup, const char **step)
{
	int ret;

	if (!in_cgroup && (ret = cgroup_join(&placement->cgroup)) < 0) {
		*step = "enter the control group";
		return ret;
	}
	if (placement->netns_fd >= 0 && setns(placement->netns_fd, CLONE_NEWNET) < 0) {
		*step = "enter the network namespace";
		return -errno;
	}
	if (placement->new_netns && unshare(CLONE_NEWNET) < 0) {
		*step = "make a network namespace";
		return -errno;
	}
	if (*placement->oom_score_adj && (ret = set_oom_score(placement->oom_score_adj)) < 0) {
		*step = "process.oomScoreAdj: set it";
		return ret;
	}
	return 0;
}

void placement_destroy(struct placement *placement)
{
	cgroup_destroy(&placement->cgroup);
	close_fd(&placement->netns_fd);
}
