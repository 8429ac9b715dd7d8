#include "runtime/user.h"
#include "runtime/file.h"

#include "common/proc.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool user_is_root(void)
{
	struct stat st;

	/* In an engine's user namespace the host's root is nobody. */
	return geteuid() == 0 && stat("/run", &st) == 0 && st.st_uid == 0;
}

/* Our user's id in the user namespace outside of ours, or in ours when there is none. */
static uid_t outer_id(void)
{
	char map[PROC_ID_MAP_MAX];
	const char *at = map;
	uid_t id = geteuid();
	struct proc_ids ids;

	proc_read(0, "uid_map", map, sizeof(map));
	while (proc_next_ids(&at, &ids))
		if (id - ids.inside < ids.count)
			return ids.outside + (id - ids.inside);
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
