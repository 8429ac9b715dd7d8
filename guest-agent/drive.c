#include "guest-agent/drive.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <time.h>

#include "common/cleanup.h"

/* The kernel has the interrupt before we have the request, so usually there is nothing to wait for.
 */
#define STEP_NS	  200000
#define STEPS_MAX 25000 /* 5 s */

int drive_wait(const char *device, struct error *err)
{
	const struct timespec step = {.tv_nsec = STEP_NS};
	cleanup_fd int fd = open(device, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_set(err, errno, "open %s", device);
	for (int i = 0; i < STEPS_MAX; i++) {
		uint64_t len = 0;

		if (ioctl(fd, BLKGETSIZE64, &len) < 0)
			return error_set(err, errno, "%s: size", device);
		if (len)
			return 0;
		nanosleep(&step, NULL);
	}
	return error_say(err, ETIMEDOUT, "%s is empty", device);
}
