/*
 * A thread that runs the loop of one device, or of several that share it. It runs from
 * io_thread_start to io_thread_stop; devices come before the one and go after the other, since a
 * loop is changed by its own thread only.
 */
#ifndef DEVICES_IO_THREAD_H
#define DEVICES_IO_THREAD_H

#include <pthread.h>

#include "common/loop.h"

struct write_ring;

struct io_thread {
	struct loop loop;
	const char *name;     /* for messages and ps; must outlive it */
	void (*begins)(void); /* called by the thread before all else, to confine itself; or NULL */
	pthread_t thread;
	bool runs;
	struct write_ring *writes; /* for its devices: io_thread_needs_writes; or NULL */
	bool one_cpu;		   /* for it and the guest */
	bool may_give_way;
	uint64_t way_until_ns; /* it gives way; 0: it does not */
};

/* Return 0 or a negative errno. */
int io_thread_init(struct io_thread *thread, const char *name, void (*begins)(void));
int io_thread_start(struct io_thread *thread);

/* A device has many writes at once: before the thread starts, which may not make a ring any more.
 */
void io_thread_needs_writes(struct io_thread *thread);

/*
 * A device looks for work before the loop waits (common/loop.h). Before the thread starts; taken
 * back by loop_poll_del. On a single CPU nobody looks: the guest could do nothing meanwhile. There
 * it can give way instead (pace.h).
 */
void io_thread_looks(struct io_thread *thread, struct loop_poll *poll);

/*
 * Until then, by CLOCK_MONOTONIC, whoever runs goes on when the thread is woken, until its turn is
 * over or it waits itself; 0: no more. By the thread.
 */
void io_thread_gives_way(struct io_thread *thread, uint64_t until_ns);

/* The thread was woken for something else: it may be time to give way no more. */
void io_thread_woken(struct io_thread *thread);

/* Waits for its end; it does not start again. Harmless when it does not run. */
void io_thread_stop(struct io_thread *thread);

/* Stops it too. Harmless for one of zeroes, which was never made. */
void io_thread_destroy(struct io_thread *thread);

#endif
