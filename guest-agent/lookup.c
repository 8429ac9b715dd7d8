#include "guest-agent/lookup.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

/* Go's syscall errors begin with a small letter. */
static const char *error_text(int code)
{
	switch (code) {
	case ENOENT:
		return "no such file or directory";
	case EACCES:
		return "permission denied";
	case ENOTDIR:
		return "not a directory";
	case EISDIR:
		return "is a directory";
	case ELOOP:
		return "too many levels of symbolic links";
	default:
		return strerror(code);
	}
}

/* Returns 0 or -errno; -ENOENT and the like when it is stat that failed set *no_stat. */
static int check(const char *path, bool *no_stat)
{
	struct stat st;

	*no_stat = stat(path, &st) < 0;
	if (*no_stat)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 && (errno != ENOSYS && errno != EPERM))
		return -errno;
	return st.st_mode & 0111 ? 0 : -EACCES;
}

static const char *find_path(const char *const *env)
{
	for (; env && *env; env++)
		if (!strncmp(*env, "PATH=", 5))
			return *env + 5;
	return "";
}

static int lookup_direct(const char *name, char **out, struct error *err)
{
	bool no_stat;
	int ret = check(name, &no_stat);

	if (ret < 0)
		return error_say(err, -ret, "exec: \"%s\": %s%s%s%s", name, no_stat ? "stat " : "",
				 no_stat ? name : "", no_stat ? ": " : "", error_text(-ret));
	*out = strdup(name);
	return *out ? 0 : error_set(err, ENOMEM, "exec: \"%s\"", name);
}

int executable_lookup(const char *name, const char *const *env, char **out, struct error *err)
{
	const char *path = find_path(env);
	bool no_stat;

	if (strchr(name, '/'))
		return lookup_direct(name, out, err);
	while (*name && *path) {
		size_t len = strcspn(path, ":");
		char *candidate;

		/* An empty element means the working directory. */
		if (asprintf(&candidate, "%.*s/%s", len ? (int)len : 1, len ? path : ".", name) < 0)
			return error_set(err, ENOMEM, "exec: \"%s\"", name);
		if (!check(candidate, &no_stat)) {
			*out = candidate;
			return 0;
		}
		free(candidate);
		path += len + (path[len] == ':');
	}
	return error_say(err, ENOENT, "exec: \"%s\": executable file not found in $PATH", name);
}
