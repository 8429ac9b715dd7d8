/* What /proc tells of a process. */
#ifndef COMMON_PROC_H
#define COMMON_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Reads the file of that name, as far as it fits; text is terminated, and empty on failure.
 * Returns its length or a negative errno. pid 0: who asks.
 */
ssize_t proc_read(pid_t pid, const char *name, char *text, size_t size);

/* A line of uid_map or gid_map (user_namespaces(7)): so many ids, from one in there, outside. */
struct proc_ids {
	uint32_t inside, outside, count;
};

#define PROC_ID_MAP_MAX 4096 /* bytes: a kernel's page, which is all that a map can be */

/* Takes a line off what was read of a map. Returns false when there is none left. */
bool proc_next_ids(const char **map, struct proc_ids *ids);

#endif
