/*
 * A disk's request at depth 1 behind which there is nothing to do: the guest notifies (ioeventfd),
 * the I/O thread wakes, takes the request, answers, and the guest, which looks for it, goes on.
 * The floor is two threads that wake each other by eventfds, and one exit.
 */
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/core.h"
#include "devices/blk.h"
#include "tests/payload/payload.h"
#include "vmm/slot.h"

PAYLOAD_IMAGE(ping);

#define REQUESTS 2000u

struct pair {
	int there, back;
};

static void signal_fd(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		core_fail("eventfd");
}

static void wait_fd(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		core_fail("eventfd");
}

static void *answer(void *arg)
{
	struct pair *pair = arg;

	for (unsigned int i = 0; i < REQUESTS; i++) {
		wait_fd(pair->there);
		signal_fd(pair->back);
	}
	return NULL;
}

static double ping_pong(void)
{
	struct pair pair = {eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC)};
	pthread_t thread;
	uint64_t start;

	if (pthread_create(&thread, NULL, answer, &pair))
		core_fail("no thread");
	start = core_now();
	for (unsigned int i = 0; i < REQUESTS; i++) {
		signal_fd(pair.there);
		wait_fd(pair.back);
	}
	start = core_now() - start;
	pthread_join(thread, NULL);
	close(pair.there);
	close(pair.back);
	return (double)start / REQUESTS;
}

static double requests(double *kicks)
{
	struct blk_options options = {.fd = -1, .serial = "bench", .name = "disk0"};
	struct error err = {0};
	struct payload payload;
	const struct slot_host host = {.kvm = &payload.kvm, .bus = &payload.mmio};
	struct slot slot;
	struct blk *blk;
	uint64_t start;
	int ret;

	payload_init(&payload, &ping_image, PAYLOAD_USER);
	payload.mailbox->values[0] = REQUESTS;
	ret = blk_create(&blk, &options, &payload.memory.map, &err);
	if (ret == 0)
		ret = slot_init(&slot, 0, &host, blk_device(blk), blk_loop(blk), &err);
	if (ret < 0)
		core_fail("%s", err.message);
	payload_start(&payload);
	payload_wait_arrived(&payload);
	start = core_now();
	payload_wait_end(&payload);
	start = core_now() - start;
	if (payload.mailbox->failed_line || payload.mailbox->values[0])
		core_fail("the guest has not done its work");
	*kicks = (double)blk_device(blk)->queues[0].stats.kicks / REQUESTS;
	slot_destroy(&slot);
	blk_destroy(blk);
	payload_destroy(&payload);
	return (double)start / REQUESTS;
}

static void blk_round(void)
{
	double kicks;

	core_sample("blk, depth 1: eventfd ping-pong and an exit", "ns/request",
		    ping_pong() + core_port_exit());
	core_sample("blk, depth 1: bulkhead", "ns/request", requests(&kicks));
	core_sample("blk, depth 1: notifications", "/request", kicks);
}

const struct core_area core_blk = {.name = "blk", .needs_kvm = true, .round = blk_round};
