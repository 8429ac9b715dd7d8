#include "guest-agent/identity.h"

#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "common/cleanup.h"

/*
 * The generation id does the same by an interrupt, but nobody waits for that one. Without
 * RNDRESEEDCRNG what was mixed in would count from the next minute on.
 */
static int renew_entropy(const struct proto_resumed *resumed, struct error *err)
{
	struct {
		struct rand_pool_info head;
		uint8_t bytes[PROTO_ENTROPY_LEN];
	} pool = {.head = {.entropy_count = 8 * PROTO_ENTROPY_LEN, .buf_size = PROTO_ENTROPY_LEN}};
	cleanup_fd int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return error_set(err, errno, "open /dev/urandom");
	memcpy(pool.head.buf, resumed->entropy, PROTO_ENTROPY_LEN);
	if (ioctl(fd, RNDADDENTROPY, &pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		ret = error_set(err, errno, "reseed the random numbers");
	explicit_bzero(&pool, sizeof(pool));
	return ret;
}

int identity_set_time(uint64_t realtime_ns, struct error *err)
{
	struct timespec now = {
		.tv_sec = (time_t)(realtime_ns / 1000000000u),
		.tv_nsec = (long)(realtime_ns % 1000000000u),
	};

	return clock_settime(CLOCK_REALTIME, &now) < 0 ? error_set(err, errno, "set the time") : 0;
}

int identity_renew(const struct proto_resumed *resumed, struct error *err)
{
	int ret = renew_entropy(resumed, err);

	return ret < 0 ? ret : identity_set_time(resumed->realtime_ns, err);
}
