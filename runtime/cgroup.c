#include "runtime/cgroup.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX   32	  /* of what a container may have made below its group */
#define EMPTY_LIMIT 20000 /* ms for what was killed to leave, KVM's own thread among it */
#define TEXT_MAX    4096

void cgroup_destroy(struct cgroup *cgroup)
{
	for (int i = 0; i < cgroup->count; i++) {
		free(cgroup->folders[i].controllers);
		free(cgroup->folders[i].path);
		close_fd(&cgroup->folders[i].fd);
	}
	cgroup->count = 0;
	free(take_ptr(cgroup->scope));
}

/* Takes path. The folder may be gone: then its descriptor is -1. */
int cgroup_add_folder(struct cgroup *cgroup, const char *controllers, char *path, size_t mount_len,
		      struct error *err)
{
	struct cgroup_folder *folder = &cgroup->folders[cgroup->count];
	char *name = strdup(controllers);

	if (!path || !name || cgroup->count == CGROUP_FOLDERS_MAX) {
		free(path);
		free(name);
		return error_set(err, ENOMEM, "control groups");
	}
	folder->controllers = name;
	folder->path = path;
	folder->mount_len = mount_len;
	folder->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cgroup->count++;
	return 0;
}

static bool names_controller(const char *list, const char *controller)
{
	size_t len = strlen(controller);

	while (list && *list) {
		if (!strncmp(list, controller, len) && (list[len] == ',' || !list[len]))
			return true;
		list = strchr(list, ',');
		list = list ? list + 1 : NULL;
	}
	return false;
}

const struct cgroup_folder *cgroup_find(const struct cgroup *cgroup, const char *controller)
{
	for (int i = 0; i < cgroup->count; i++)
		if (cgroup->unified || names_controller(cgroup->folders[i].controllers, controller))
			return &cgroup->folders[i];
	return NULL;
}

/* A limit that needs a controller which cannot be passed on fails later, and says so. */
static void pass_on_controllers(int fd)
{
	static const char *const each[] = {"+cpuset", "+cpu",	  "+io",   "+memory",
					   "+pids",   "+hugetlb", "+rdma", "+misc"};
	static const char usual[] = "+cpuset +cpu +io +memory +pids";
	cleanup_fd int control = openat(fd, "cgroup.subtree_control", O_WRONLY | O_CLOEXEC);

	if (control < 0 || write(control, usual, sizeof(usual) - 1) >= 0)
		return;
	for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++)
		if (write(control, each[i], strlen(each[i])) < 0)
			continue;
}

/* v1: a new group's CPUs and memory nodes are none until they are set. */
static void inherit_file(int parent, int child, const char *name)
{
	cleanup_free char *text = NULL;
	cleanup_fd int fd = -1;
	ssize_t len = file_read(parent, name, TEXT_MAX, &text, NULL);

	fd = openat(child, name, O_WRONLY | O_CLOEXEC);
	if (len > 1 && fd >= 0)
		write_all(fd, text, (size_t)len);
}

static int make_folder(struct cgroup_folder *folder, struct error *err)
{
	cleanup_free char *mount = strndup(folder->path, folder->mount_len);
	cleanup_fd int fd = mount ? open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	bool unified = !*folder->controllers;

	if (fd < 0)
		return error_set(err, errno, "open %s", mount);
	for (const char *at = folder->path + folder->mount_len + 1; *at;) {
		cleanup_free char *name = strndup(at, strcspn(at, "/"));
		int parent = fd;

		if (!name)
			return error_set(err, ENOMEM, "make %s", folder->path);
		if (unified)
			pass_on_controllers(parent);
		if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
			return error_set(err, errno, "make the control group %s", folder->path);
		fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 && names_controller(folder->controllers, "cpuset")) {
			inherit_file(parent, fd, "cpuset.cpus");
			inherit_file(parent, fd, "cpuset.mems");
		}
		close(parent);
		if (fd < 0)
			return error_set(err, errno, "open the control group %s", folder->path);
		at += strlen(name);
		at += *at == '/';
	}
	close_fd(&folder->fd);
	folder->fd = take_fd(&fd);
	return 0;
}

int cgroup_make(struct cgroup *cgroup, struct error *err)
{
	int ret = 0;

	for (int i = 0; i < cgroup->count && ret == 0; i++)
		ret = make_folder(&cgroup->folders[i], err);
	return ret;
}

json_t *cgroup_save(const struct cgroup *cgroup)
{
	json_t *paths = json_array();

	for (int i = 0; i < cgroup->count; i++)
		json_array_append_new(paths, json_pack("[s, s]", cgroup->folders[i].controllers,
						       cgroup->folders[i].path));
	return json_pack("{s:b, s:s*, s:o}", "unified", cgroup->unified, "scope", cgroup->scope,
			 "paths", paths);
}

int cgroup_load(struct cgroup *cgroup, const json_t *saved, struct error *err)
{
	const char *scope = json_string_value(json_object_get(saved, "scope"));
	json_t *pair;
	size_t i;
	int ret = 0;

	cgroup->unified = json_is_true(json_object_get(saved, "unified"));
	cgroup->scope = scope ? strdup(scope) : NULL;
	json_array_foreach (json_object_get(saved, "paths"), i, pair) {
		const char *controllers = json_string_value(json_array_get(pair, 0));
		const char *path = json_string_value(json_array_get(pair, 1));

		if (!controllers || !path)
			return error_say(err, EBADMSG,
					 "state.json: its control groups are damaged");
		ret = cgroup_add_folder(cgroup, controllers, strdup(path), 0, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int cgroup_clone_fd(const struct cgroup *cgroup)
{
	return cgroup->unified && cgroup->count == 1 ? cgroup->folders[0].fd : -1;
}

int cgroup_join(const struct cgroup *cgroup)
{
	for (int i = 0; i < cgroup->count; i++) {
		int fd = openat(cgroup->folders[i].fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : write(fd, "0", 1);
		int code = errno;

		if (fd >= 0)
			close(fd);
		if (n < 0)
			return -code;
	}
	return 0;
}

/* v1 has no cgroup.kill. */
static void kill_each(int fd)
{
	int procs = openat(fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	cleanup_file FILE *file = procs < 0 ? NULL : fdopen(procs, "r");
	int pid;

	while (file && fscanf(file, "%d", &pid) == 1)
		if (pid > 1)
			kill(pid, SIGKILL);
}

static bool is_populated(int events)
{
	char text[256];
	ssize_t len = pread(events, text, sizeof(text) - 1, 0);

	if (len <= 0)
		return false;
	text[len] = '\0';
	return strstr(text, "populated 1") != NULL;
}

static void end_all(int fd)
{
	cleanup_fd int events = openat(fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	cleanup_fd int control = -1;
	struct pollfd wait = {.fd = events, .events = POLLPRI};

	if (events < 0) {
		kill_each(fd);
		return;
	}
	if (!is_populated(events))
		return;
	control = openat(fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	if (control < 0 || write(control, "1", 1) < 0)
		kill_each(fd);
	while (is_populated(events) && poll(&wait, 1, EMPTY_LIMIT) > 0)
		;
}

/* Children first. A v1 group has no event for its emptiness, so its end is asked for again. */
static int remove_tree(int parent, const char *name, int depth)
{
	const struct timespec pause = {.tv_nsec = 2000000};

	for (int left = EMPTY_LIMIT / 2; left > 0; left--) {
		int fd;
		DIR *dir;
		struct dirent *entry;

		if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		if (errno != EBUSY || depth == DEPTH_MAX)
			return -errno;
		fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			continue;
		end_all(fd);
		dir = fdopendir(fd);
		while (dir && (entry = readdir(dir)))
			if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
				remove_tree(fd, entry->d_name, depth + 1);
		if (dir)
			closedir(dir);
		else
			close(fd);
		if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		nanosleep(&pause, NULL);
	}
	return -EBUSY;
}

int cgroup_remove(const struct cgroup *cgroup, struct error *err)
{
	int result = 0;

	/* Without folders no scope came to be. One that is empty systemd removes by itself. */
	if (cgroup->scope && cgroup->count > 0)
		cgroup_stop_scope(cgroup, NULL);
	for (int i = 0; i < cgroup->count; i++) {
		int ret = remove_tree(AT_FDCWD, cgroup->folders[i].path, 0);

		if (ret < 0 && result == 0)
			result = error_set(err, -ret, "remove the control group %s",
					   cgroup->folders[i].path);
	}
	return result;
}
