#include "common/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/cleanup.h"

ssize_t proc_read(pid_t pid, const char *name, char *text, size_t size)
{
	cleanup_fd int fd = -1;
	char path[64];
	ssize_t len;

	text[0] = '\0';
	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	else
		snprintf(path, sizeof(path), "/proc/self/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, text, size - 1);
	if (len < 0)
		return -errno;
	text[len] = '\0';
	return len;
}

bool proc_next_ids(const char **map, struct proc_ids *ids)
{
	int len = 0;

	if (sscanf(*map, "%u %u %u%n", &ids->inside, &ids->outside, &ids->count, &len) != 3)
		return false;
	*map += len;
	return true;
}
