#include "common/direct_io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define MOST 4096u

static bool fits(uint32_t bytes)
{
	return bytes && bytes <= MOST && !(bytes & (bytes - 1));
}

int direct_io_find(int fd, struct direct_io *out)
{
	struct statx st = {0};
	int sector = 0;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_DIOALIGN, &st) < 0)
		return -errno;
	if (st.stx_mask & STATX_DIOALIGN)
		*out = (struct direct_io){st.stx_dio_offset_align, st.stx_dio_mem_align};
	else if (S_ISBLK(st.stx_mode) && ioctl(fd, BLKSSZGET, &sector) == 0)
		*out = (struct direct_io){(uint32_t)sector, (uint32_t)sector};
	else
		/* Before Linux 6.1, and where a file system does not say: right for all of them. */
		*out = (struct direct_io){MOST, MOST};
	return fits(out->block) && fits(out->memory) ? 0 : -EOPNOTSUPP;
}

int direct_io_enable(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) < 0 ? -errno : 0;
}
