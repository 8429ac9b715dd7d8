#include "guest-agent/protect.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "common/cleanup.h"
#include "guest-agent/path.h"
#include "guest-agent/spec.h"

typedef int path_fn(int root_fd, const char *path);

static int mask_path(int root_fd, const char *path)
{
	cleanup_fd int fd = path_open(root_fd, path, O_PATH);
	char target[FD_PATH_SIZE];
	struct stat st;
	int ret;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	path_of_fd(fd, target);
	if (S_ISDIR(st.st_mode))
		ret = mount("tmpfs", target, "tmpfs", MS_RDONLY, "size=0k,nr_inodes=1");
	else
		ret = mount("/dev/null", target, NULL, MS_BIND, NULL);
	return ret < 0 ? -errno : 0;
}

static int readonly_path(int root_fd, const char *path)
{
	cleanup_fd int fd = path_open(root_fd, path, O_PATH);
	cleanup_fd int top = -1;
	char target[FD_PATH_SIZE];
	unsigned long keep;
	struct statvfs fs;

	if (fd < 0)
		return fd;
	path_of_fd(fd, target);
	if (mount(target, target, NULL, MS_BIND | MS_REC, NULL) < 0)
		return -errno;
	top = path_open(root_fd, path, O_PATH);
	if (top < 0 || fstatvfs(top, &fs) < 0)
		return top < 0 ? top : -errno;
	/* Flags that are locked by a user namespace must be repeated; ST_ and MS_ agree here. */
	keep = fs.f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC);
	if (mount(NULL, path_of_fd(top, target), NULL, keep | MS_BIND | MS_REMOUNT | MS_RDONLY,
		  NULL) < 0)
		return -errno;
	return 0;
}

static int each_path(const json_t *config, const char *key, const char *step, int root_fd,
		     path_fn *fn, struct error *err)
{
	cleanup_free const char **paths = NULL;
	const json_t *linux_ = NULL;
	int ret;

	if ((ret = spec_object(config, "config", "linux", &linux_, err)) < 0 ||
	    (ret = spec_strings(linux_, "config.linux", key, &paths, err)) <= 0)
		return ret;
	for (const char **path = paths; *path; path++) {
		ret = fn(root_fd, *path);
		/* Another kernel has other files; what is not there needs no protection. */
		if (ret < 0 && ret != -ENOENT && ret != -ENOTDIR)
			return error_set(err, -ret, "%s %s", step, *path);
	}
	return 0;
}

int protect_mask_paths(const json_t *config, int root_fd, struct error *err)
{
	return each_path(config, "maskedPaths", "can't mask path", root_fd, mask_path, err);
}

int protect_readonly_paths(const json_t *config, int root_fd, struct error *err)
{
	return each_path(config, "readonlyPaths", "can't make read-only", root_fd, readonly_path,
			 err);
}

/* "net.ipv4.ip_forward" and "net/ipv4/ip_forward" are both in use. */
static int sysctl_write(const char *name, const char *value, struct error *err)
{
	char path[PATH_MAX];
	int ret;

	if (strstr(name, "..") ||
	    snprintf(path, sizeof(path), "/proc/sys/%s", name) >= (int)sizeof(path))
		return error_say(err, EINVAL, "sysctl \"%.128s\": not a valid name", name);
	if (!strchr(name, '/'))
		for (char *c = path + strlen("/proc/sys/"); *c; c++)
			if (*c == '.')
				*c = '/';
	ret = path_write(path, value);
	return ret < 0 ? error_set(err, -ret, "write sysctl %s", name) : 0;
}

int protect_sysctl(const json_t *config, struct error *err)
{
	const json_t *linux_ = NULL, *sysctl = NULL;
	const char *name;
	json_t *value;
	int ret;

	if ((ret = spec_object(config, "config", "linux", &linux_, err)) < 0 ||
	    (ret = spec_object(linux_, "config.linux", "sysctl", &sysctl, err)) <= 0)
		return ret;
	json_object_foreach ((json_t *)sysctl, name, value) {
		if (!json_is_string(value))
			return error_say(err, EINVAL, "config.linux.sysctl.%s: must be a string",
					 name);
		ret = sysctl_write(name, json_string_value(value), err);
		if (ret < 0)
			return ret;
	}
	return 0;
}
