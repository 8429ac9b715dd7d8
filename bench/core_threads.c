/*
 * A disk and a NIC, each with an I/O thread of its own, and both with one that they share: alone
 * and together, one request at a time and in batches. The guest is this thread: it gives each its
 * batch, then takes what both have done.
 */
#include <stdio.h>
#include <string.h>

#include "bench/core_path.h"

#define REQUESTS 6400u /* of each device: a multiple of every batch */

static const unsigned int batches[] = {1, 32};

enum who { DISK, NIC, BOTH, WHOS };

static const char *const whose[] = {"a read", "a packet", "a read and a packet"};

struct machine {
	struct io_thread thread;
	struct path disk, nic;
};

static void machine_open(struct machine *machine, bool shared)
{
	struct io_thread *thread = shared ? &machine->thread : NULL;

	memset(machine, 0, sizeof(*machine));
	if (shared && io_thread_init(&machine->thread, "io", NULL) < 0)
		core_fail("threads: no event loop");
	machine->thread.loop.shared = true;
	path_open(&machine->disk, READ, thread);
	path_open(&machine->nic, SEND, thread);
	if (shared && io_thread_start(&machine->thread) < 0)
		core_fail("threads: no thread");
	path_begin(&machine->disk);
	path_begin(&machine->nic);
}

static void machine_close(struct machine *machine)
{
	driver_reset(&machine->disk.driver);
	driver_reset(&machine->nic.driver);
	io_thread_destroy(&machine->thread);
	path_close(&machine->disk);
	path_close(&machine->nic);
}

static double measure(struct machine *machine, enum who who, unsigned int batch)
{
	uint64_t start = core_now();

	for (unsigned int i = 0; i < REQUESTS / batch; i++) {
		if (who != NIC)
			path_submit(&machine->disk, batch, i);
		if (who != DISK)
			path_submit(&machine->nic, batch, i);
		if (who != NIC)
			path_take(&machine->disk, batch);
		if (who != DISK)
			path_take(&machine->nic, batch);
	}
	return (double)(core_now() - start) / REQUESTS;
}

static void threads_round(void)
{
	static struct machine machine;

	for (unsigned int shared = 0; shared < 2; shared++) {
		machine_open(&machine, shared);
		for (enum who who = DISK; who < WHOS; who++)
			for (unsigned int i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
				char name[64];

				snprintf(name, sizeof(name), "%s, x%u: %s", whose[who], batches[i],
					 shared ? "shared I/O thread" : "own I/O threads");
				core_sample(name, "ns", measure(&machine, who, batches[i]));
			}
		machine_close(&machine);
	}
}

const struct core_area core_threads = {.name = "threads", .round = threads_round};
