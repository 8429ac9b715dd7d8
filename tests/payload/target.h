/*
 * A VM to attack: every device in its slot with a back end, and all threads in the filters of a
 * VMM. (But for the sanitizers' build, which makes calls of its own.)
 */
#ifndef TESTS_PAYLOAD_TARGET_H
#define TESTS_PAYLOAD_TARGET_H

#include <pthread.h>
#include <semaphore.h>

#include "common/loop.h"
#include "tests/payload/payload.h"
#include "vmm/slot.h"

enum target_slot {
	SLOT_BLK,
	SLOT_VSOCK,
	SLOT_CONSOLE,
	SLOT_RNG,
	SLOT_BALLOON,
	SLOT_NET, /* behind it a stream of frames, which come back as they are */
	SLOT_TAP, /* two pairs of queues; behind it a tap, where the test may make one */
	SLOT_FS,  /* behind it virtiofsd, where the test may run it; or else nobody */
	SLOT_MEM, /* with memory to plug, and some that it has no right to */
	SLOTS,
};

extern const char *const target_names[SLOTS];

struct target {
	struct payload payload;
	struct loop loop;
	pthread_t loop_thread;
	sem_t loop_ended;
	struct blk *blk;
	struct vsock *vsock;
	struct console *console;
	struct rng *rng;
	struct balloon *balloon;
	struct net *net, *tap;
	struct fs *fs;
	struct mem *mem;
	struct slot slots[SLOTS];
	int zero_fd, null_fd;
	int echo_fd; /* the other end of SLOT_NET */
	pthread_t echo_thread;
	char directory[32]; /* that virtiofsd shares */
	unsigned int alive; /* PAYLOAD_ALIVE, as often as the console said it */
	unsigned int matched;
};

/* slot is what will be attacked: the others' back ends may be left out. */
void target_init(struct target *target, enum target_slot slot);
void target_destroy(struct target *target);

#endif
