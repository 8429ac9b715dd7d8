/*
 * The control groups on the host in which a container's VMM lives: linux.cgroupsPath, on cgroup v2,
 * on v1, and on v1 with a v2 hierarchy beside it (hybrid). With systemd the group is a scope
 * (cgroup_systemd.c).
 *
 * Paths follow runc: an absolute cgroupsPath is below the hierarchy's mount, a relative one beside
 * (v2) or below (v1) the runtime's own group, and none means a group named by the container's id.
 */
#ifndef RUNTIME_CGROUP_H
#define RUNTIME_CGROUP_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CGROUP_FOLDERS_MAX 24 /* v1 has some 14 hierarchies at most */

enum cgroup_manager { CGROUP_FS, CGROUP_SYSTEMD, CGROUP_DISABLED };

struct cgroup_folder {
	char *controllers; /* v1: "cpu,cpuacct" or "name=systemd"; v2: "" */
	char *path;	   /* absolute */
	size_t mount_len;  /* of it, the hierarchy's mount */
	int fd;		   /* -1: it does not exist */
};

struct cgroup {
	bool unified; /* v2 alone */
	int count;    /* 0: no group at all (disabled) */
	struct cgroup_folder folders[CGROUP_FOLDERS_MAX];
	char *scope; /* the systemd unit, or NULL */
};

/*
 * cgroup_plan.c: finds out where the folders will be. One that other processes live in is refused:
 * it would be ended with the container.
 */
int cgroup_plan(struct cgroup *cgroup, const json_t *config, const char *id, struct error *err);

/* Makes the folders. On failure some may be there: cgroup_remove takes them away. */
int cgroup_make(struct cgroup *cgroup, struct error *err);

/* What state.json keeps, the caller's; and the groups again from it, with folders that may be gone.
 */
json_t *cgroup_save(const struct cgroup *cgroup);
int cgroup_load(struct cgroup *cgroup, const json_t *saved, struct error *err);

/* The folder to be cloned into, or -1 where that does not exist: cgroup_join does it then. */
int cgroup_clone_fd(const struct cgroup *cgroup);

/* Puts the calling process in. Between fork and exec: async-signal-safe. Returns 0 or -errno. */
int cgroup_join(const struct cgroup *cgroup);

/* Ends whatever lives in the groups, and removes them with what is below. None is no error. */
int cgroup_remove(const struct cgroup *cgroup, struct error *err);

void cgroup_destroy(struct cgroup *cgroup);
#define cleanup_cgroup __attribute__((cleanup(cgroup_destroy)))

/* The folder of a controller, or NULL. */
const struct cgroup_folder *cgroup_find(const struct cgroup *cgroup, const char *controller);

/* cgroup_limits.c: what linux.resources asks of the host's side. Returns 0 or a negative errno. */
int cgroup_set_memory(const struct cgroup *cgroup, const json_t *resources, uint64_t bytes,
		      struct error *err);
/* Moves the limit of the group's memory by so many bytes, if there is one. */
int cgroup_change_memory(const struct cgroup *cgroup, int64_t bytes, struct error *err);
int cgroup_set_cpu(const struct cgroup *cgroup, const json_t *resources, struct error *err);
int cgroup_set_io(const struct cgroup *cgroup, const json_t *resources, struct error *err);
int cgroup_set_unified(const struct cgroup *cgroup, const json_t *resources, struct error *err);

/*
 * cgroup_systemd.c. A scope is made around a process that waits; the folder is known then. It has
 * the limits from the beginning, memory_bytes among them if there is a memory limit: what is only
 * in the folder's files systemd takes back when it reloads. On failure the process is the caller's
 * to end.
 */
int cgroup_name_scope(struct cgroup *cgroup, const json_t *config, const char *id,
		      struct error *err);
int cgroup_make_scope(struct cgroup *cgroup, const json_t *config, const char *id, pid_t pid,
		      uint64_t memory_bytes, struct error *err);
int cgroup_stop_scope(const struct cgroup *cgroup, struct error *err);

/* Within cgroup*.c: takes path, and opens it if it is there. Returns 0 or a negative errno. */
int cgroup_add_folder(struct cgroup *cgroup, const char *controllers, char *path, size_t mount_len,
		      struct error *err);

#endif
