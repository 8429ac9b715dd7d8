/* Where a container's control groups will be: linux.cgroupsPath on what is mounted. */
#include "runtime/bundle.h"
#include "runtime/cgroup.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define TABLE_MAX   (1u << 20)

/* "/a/../../b//c" is "/b/c": what is above the mount cannot be named. */
static char *clean_path(const char *path)
{
	char *out = malloc(strlen(path) + 2), *end = out;

	if (!out)
		return NULL;
	while (*path) {
		size_t len = strcspn(path, "/");

		if (len == 2 && !strncmp(path, "..", 2)) {
			while (end > out && *--end != '/')
				;
		} else if (len && !(len == 1 && *path == '.')) {
			*end++ = '/';
			memcpy(end, path, len);
			end += len;
		}
		path += len + (path[len] == '/');
	}
	*end = '\0';
	return out;
}

/* The runtime's own group in a hierarchy: a line "N:CONTROLLERS:PATH" of /proc/self/cgroup. */
static char *own_path(const char *table, const char *controllers)
{
	size_t len = strlen(controllers);

	for (const char *line = table; line && *line;) {
		const char *colon = strchr(line, ':');

		if (colon && !strncmp(colon + 1, controllers, len) && colon[1 + len] == ':') {
			const char *path = colon + 2 + len;

			return strndup(path, strcspn(path, "\n"));
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return strdup("/");
}

/* Where below the mount the group is. table: /proc/self/cgroup, needed for a relative path. */
static char *place(const char *wanted, const char *table, const char *controllers)
{
	cleanup_free char *own = NULL, *joined = NULL;

	if (*wanted == '/')
		return clean_path(wanted);
	own = own_path(table, controllers);
	if (!own)
		return NULL;
	/* v2: a group with processes in it cannot pass controllers on, but its parent can. */
	if (!*controllers)
		*strrchr(own, '/') = '\0';
	joined = format("%s/%s", own, wanted);
	return joined ? clean_path(joined) : NULL;
}

static int check_empty(const struct cgroup_folder *folder, struct error *err)
{
	cleanup_fd int fd = -1;
	char byte;

	if (folder->fd < 0)
		return 0;
	fd = openat(folder->fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, &byte, 1) > 0)
		return error_say(err, EBUSY,
				 "linux.cgroupsPath: the control group %s has processes in it",
				 folder->path);
	return 0;
}

static int plan_folder(struct cgroup *cgroup, const char *mount, const char *controllers,
		       const char *wanted, const char *table, struct error *err)
{
	cleanup_free char *path = place(wanted, table, controllers);
	int ret;

	if (!path)
		return error_set(err, ENOMEM, "linux.cgroupsPath");
	if (!*path)
		return error_say(err, EINVAL,
				 "linux.cgroupsPath: \"%s\" is the root of the hierarchy", wanted);
	ret = cgroup_add_folder(cgroup, controllers, format("%s%s", mount, path), strlen(mount),
				err);
	return ret == 0 ? check_empty(&cgroup->folders[cgroup->count - 1], err) : ret;
}

/* The controllers among a v1 mount's options: "rw,cpu,cpuacct" has two, "rw,xattr,name=x" a name.
 */
static char *controllers_of(char *options)
{
	static const char *const plain[] = {
		"rw",	       "ro", "xattr", "clone_children", "noprefix", "cpuset_v2_mode",
		"favordynmods"};
	char *out = strdup(""), *save = NULL;

	for (char *word = strtok_r(options, ",", &save); word && out;
	     word = strtok_r(NULL, ",", &save)) {
		bool skip = !strncmp(word, "release_agent=", 14);
		char *more;

		for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
			skip = skip || !strcmp(word, plain[i]);
		if (skip)
			continue;
		more = format("%s%s%s", out, *out ? "," : "", word);
		free(out);
		out = more;
	}
	return out;
}

/* One line of mountinfo: proc(5). "... MOUNT-POINT OPTIONS [FIELD]... - TYPE SOURCE OPTIONS" */
static int plan_from_mount(struct cgroup *cgroup, char *line, const char *wanted, const char *table,
			   struct error *err)
{
	cleanup_free char *controllers = NULL;
	char mount[512], type[32], options[256];
	const char *rest = strstr(line, " - ");

	if (!rest || sscanf(line, "%*s %*s %*s %*s %511s", mount) != 1 ||
	    sscanf(rest + 3, "%31s %*s %255s", type, options) != 2 ||
	    strncmp(type, "cgroup", 6) != 0)
		return 0;
	controllers = strcmp(type, "cgroup2") ? controllers_of(options) : strdup("");
	if (!controllers)
		return error_set(err, ENOMEM, "control groups");
	for (int i = 0; i < cgroup->count; i++)
		if (!strcmp(cgroup->folders[i].controllers, controllers))
			return 0;
	return plan_folder(cgroup, mount, controllers, wanted, table, err);
}

static int plan_v1(struct cgroup *cgroup, const char *wanted, const char *table, struct error *err)
{
	cleanup_free char *mounts = NULL;
	char *save = NULL;
	ssize_t len = file_read(AT_FDCWD, "/proc/self/mountinfo", TABLE_MAX, &mounts, err);
	int ret = len < 0 ? (int)len : 0;

	for (char *line = ret ? NULL : strtok_r(mounts, "\n", &save); line && ret == 0;
	     line = strtok_r(NULL, "\n", &save))
		ret = plan_from_mount(cgroup, line, wanted, table, err);
	if (ret == 0 && cgroup->count == 0)
		return error_say(err, ENOENT,
				 "no control groups are mounted at " CGROUP_ROOT
				 ": mount them, or use --cgroup-manager disabled");
	return ret;
}

int cgroup_plan(struct cgroup *cgroup, const json_t *config, const char *id, struct error *err)
{
	const char *wanted =
		json_string_value(json_at((json_t *)config, "linux", "cgroupsPath", NULL));
	cleanup_free char *table = NULL;
	struct statfs fs;

	if (!wanted || !*wanted)
		wanted = id;
	if (*wanted != '/') {
		ssize_t len = file_read(AT_FDCWD, "/proc/self/cgroup", TABLE_MAX, &table, err);

		if (len < 0)
			return (int)len;
	}
	cgroup->unified = statfs(CGROUP_ROOT, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
	return cgroup->unified ? plan_folder(cgroup, CGROUP_ROOT, "", wanted, table, err)
			       : plan_v1(cgroup, wanted, table, err);
}
