#include "common/forget.h"

#include <errno.h>
#include <sys/mount.h>

#include "common/cleanup.h"

int forget_names(int fd)
{
	cleanup_fd int context_fd = fspick(fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);

	/* Configuring a file system anew, with nothing new, drops what is cached of its tree. */
	if (context_fd < 0 || fsconfig(context_fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		return -errno;
	return 0;
}
