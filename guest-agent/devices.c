#include "guest-agent/devices.h"

#include <fcntl.h>
#include <stdint.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/drive.h"
#include "guest-agent/path.h"
#include "guest-agent/spec.h"

struct node {
	const char *path;
	mode_t mode; /* with the type */
	unsigned int major, minor;
	uid_t uid;
	gid_t gid;
	const char *own; /* the agent's own node of it; NULL: it has the same path */
};

static const struct node defaults[] = {
	{"/dev/null", S_IFCHR | 0666, 1, 3, 0, 0, NULL},
	{"/dev/zero", S_IFCHR | 0666, 1, 5, 0, 0, NULL},
	{"/dev/full", S_IFCHR | 0666, 1, 7, 0, 0, NULL},
	{"/dev/random", S_IFCHR | 0666, 1, 8, 0, 0, NULL},
	{"/dev/urandom", S_IFCHR | 0666, 1, 9, 0, 0, NULL},
	{"/dev/tty", S_IFCHR | 0666, 5, 0, 0, 0, NULL},
};

static const struct {
	const char *target, *path;
} links[] = {
	{"/proc/self/fd", "/dev/fd"},	    {"/proc/self/fd/0", "/dev/stdin"},
	{"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
	{"/proc/kcore", "/dev/core"},
};

/* In a user namespace nobody may make nodes; the agent's own of that name does as well. */
static int node_bind(const struct node *node, int root_fd, struct error *err)
{
	cleanup_fd int fd = path_make_file(root_fd, node->path, err);
	char target[FD_PATH_SIZE];

	if (fd < 0)
		return fd;
	if (mount(node->own ? node->own : node->path, path_of_fd(fd, target), NULL, MS_BIND, NULL) <
	    0)
		return error_set(err, errno, "bind %s", node->path);
	return 0;
}

static int node_make(const struct node *node, int root_fd, struct error *err)
{
	char name[NAME_MAX + 1];
	cleanup_fd int dir_fd = path_make_parent(root_fd, node->path, name, sizeof(name), err);

	if (dir_fd < 0)
		return dir_fd;
	if (mknodat(dir_fd, name, node->mode, makedev(node->major, node->minor)) < 0) {
		if (errno == EPERM)
			return node_bind(node, root_fd, err);
		/* The image or an engine's mount has it already. */
		return errno == EEXIST ? 0 : error_set(err, errno, "mknod %s", node->path);
	}
	if (fchownat(dir_fd, name, node->uid, node->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return error_set(err, errno, "chown %s", node->path);
	return 0;
}

static int link_make(const char *target, const char *path, int root_fd, struct error *err)
{
	char name[NAME_MAX + 1];
	cleanup_fd int dir_fd = path_make_parent(root_fd, path, name, sizeof(name), err);

	if (dir_fd < 0)
		return dir_fd;
	if (symlinkat(target, dir_fd, name) < 0 && errno != EEXIST)
		return error_set(err, errno, "symlink %s", path);
	return 0;
}

static int node_type(const char *type, mode_t *out)
{
	if (!strcmp(type, "c") || !strcmp(type, "u"))
		*out = S_IFCHR;
	else if (!strcmp(type, "b"))
		*out = S_IFBLK;
	else if (!strcmp(type, "p"))
		*out = S_IFIFO;
	else
		return -EINVAL;
	return 0;
}

static int node_parse(const json_t *device, const char *where, struct node *out, struct error *err)
{
	long long maj = 0, min = 0, mode = 0666, uid = 0, gid = 0;
	const char *type = "";
	mode_t kind;
	int ret;

	if ((ret = spec_string(device, where, "path", &out->path, err)) < 0 ||
	    (ret = spec_string(device, where, "type", &type, err)) < 0 ||
	    (ret = spec_int(device, where, "major", -1, 4095, &maj, err)) < 0 ||
	    (ret = spec_int(device, where, "minor", -1, 1048575, &min, err)) < 0 ||
	    (ret = spec_int(device, where, "fileMode", 0, 0177777, &mode, err)) < 0 ||
	    (ret = spec_int(device, where, "uid", 0, UINT32_MAX, &uid, err)) < 0 ||
	    (ret = spec_int(device, where, "gid", 0, UINT32_MAX, &gid, err)) < 0)
		return ret;
	if (!out->path)
		return error_say(err, EINVAL, "%s.path: is missing", where);
	if (node_type(type, &kind) < 0)
		return error_say(err, EINVAL, "%s.type: \"%s\" is not one of c, u, b, p", where,
				 type);
	out->mode = kind | ((mode_t)mode & 07777);
	out->major = kind == S_IFIFO ? 0 : (unsigned int)maj;
	out->minor = kind == S_IFIFO ? 0 : (unsigned int)min;
	out->uid = (uid_t)uid;
	out->gid = (gid_t)gid;
	return 0;
}

/* The number in the config is the host's; here it is that of the disk. */
static int find_disk(const json_t *disks, size_t i, struct node *node, struct error *err)
{
	struct stat st;
	int ret;

	node->own = json_string_value(json_array_get(disks, i));
	if (!node->own)
		return 0;
	if ((ret = drive_wait(node->own, err)) < 0)
		return ret;
	if (stat(node->own, &st) < 0 || !S_ISBLK(st.st_mode))
		return error_set(err, errno, "disk %s", node->own);
	node->major = major(st.st_rdev);
	node->minor = minor(st.st_rdev);
	return 0;
}

static int config_devices(const json_t *config, const json_t *disks, int root_fd, struct error *err)
{
	const json_t *linux_ = NULL, *devices = NULL, *device;
	struct node node = {0};
	char where[64];
	int ret;

	if ((ret = spec_object(config, "config", "linux", &linux_, err)) < 0 ||
	    (ret = spec_array(linux_, "config.linux", "devices", &devices, err)) < 0)
		return ret;
	for (size_t i = 0; ret >= 0 && i < json_array_size(devices); i++) {
		snprintf(where, sizeof(where), "config.linux.devices[%zu]", i);
		if ((ret = spec_element(devices, "config.linux.devices", i, &device, err)) < 0 ||
		    (ret = node_parse(device, where, &node, err)) < 0 ||
		    (ret = find_disk(disks, i, &node, err)) < 0)
			return ret;
		ret = node_make(&node, root_fd, err);
	}
	return ret < 0 ? ret : 0;
}

/* /dev/ptmx must be the one of the container's own devpts, whatever the image has there. */
static int ptmx_link(int root_fd, struct error *err)
{
	cleanup_fd int dir_fd = path_make_dir(root_fd, "/dev", err);

	if (dir_fd < 0)
		return dir_fd;
	if (unlinkat(dir_fd, "ptmx", 0) < 0 && errno != ENOENT)
		return error_set(err, errno, "remove /dev/ptmx");
	if (symlinkat("pts/ptmx", dir_fd, "ptmx") < 0)
		return error_set(err, errno, "symlink /dev/ptmx");
	return 0;
}

int devices_make(const json_t *config, const json_t *disks, int root_fd, struct error *err)
{
	mode_t mask = umask(0);
	/* First, because a node that is there is left as it is. */
	int ret = config_devices(config, disks, root_fd, err);

	for (size_t i = 0; !ret && i < sizeof(defaults) / sizeof(defaults[0]); i++)
		ret = node_make(&defaults[i], root_fd, err);
	for (size_t i = 0; !ret && i < sizeof(links) / sizeof(links[0]); i++)
		ret = link_make(links[i].target, links[i].path, root_fd, err);
	if (!ret)
		ret = ptmx_link(root_fd, err);
	umask(mask);
	return ret < 0 ? error_prefix(err, ret, "error creating device nodes") : 0;
}
