#include "guest-agent/memory.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>

#include "common/cleanup.h"

#define LIMIT_MS     10000 /* without any news: the kernel adds some GiB a second */
#define KERNEL_GROUP 1	   /* of uevents: what the kernel itself says */

uint64_t memory_total(void)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 ? 0 : (uint64_t)info.totalram * info.mem_unit;
}

/* Each block of memory that the kernel begins to use is news; what it says does not matter here. */
static int open_news(void)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP};
	cleanup_fd int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				   NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return take_fd(&fd);
}

static int await_news(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char byte;
	int n;

	do
		n = poll(&ready, 1, LIMIT_MS);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return -ETIMEDOUT;
	/* Some may have been lost (ENOBUFS): that is news too. */
	while (recv(fd, &byte, 1, MSG_TRUNC) > 0)
		;
	return 0;
}

int memory_await(uint64_t total, struct error *err)
{
	cleanup_fd int fd = -1;
	int ret = 0;

	if (memory_total() >= total)
		return 0;
	fd = open_news();
	if (fd < 0)
		return error_set(err, -fd, "memory: uevents");
	/* What came meanwhile was no news. */
	while (memory_total() < total && ret == 0)
		ret = await_news(fd);
	return ret < 0 ? error_set(err, -ret, "memory: the kernel has %llu of %llu KiB",
				   (unsigned long long)memory_total() >> 10,
				   (unsigned long long)total >> 10)
		       : 0;
}
