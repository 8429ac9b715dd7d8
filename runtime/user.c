#include "runtime/user.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_MAX 4096

bool user_is_root(void)
{
	struct stat st;

	/* In an engine's user namespace the host's root is nobody. */
	return geteuid() == 0 && stat("/run", &st) == 0 && st.st_uid == 0;
}

/* Our user's id in the user namespace outside of ours, or in ours when there is none. */
static uid_t outer_id(void)
{
	cleanup_free char *map = NULL;
	unsigned int inside, outside, count;
	uid_t id = geteuid();
	int len = 0;

	if (file_read(AT_FDCWD, "/proc/self/uid_map", MAP_MAX, &map, NULL) < 0)
		return id;
	for (const char *at = map; sscanf(at, "%u %u %u%n", &inside, &outside, &count, &len) == 3;
	     at += len)
		if (id >= inside && id - inside < count)
			return outside + (id - inside);
	return id;
}

/* podman has the runtime's start and delete without HOME. */
const char *user_home(void)
{
	const char *home = getenv("HOME");
	const struct passwd *entry = home && *home == '/' ? NULL : getpwuid(outer_id());

	if (entry)
		return entry->pw_dir;
	return home ? home : "";
}

char *user_runtime_dir(void)
{
	const char *folder = getenv("XDG_RUNTIME_DIR");

	return folder && *folder == '/' ? strdup(folder) : format("/run/user/%u", outer_id());
}
