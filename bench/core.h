/*
 * The performance core, measured: each row of ours beside its floor or its peer, in one process, in
 * rounds that take turns. A sample is printed as bench/report reads it: name, unit, value.
 */
#ifndef BENCH_CORE_H
#define BENCH_CORE_H

#include <stdbool.h>
#include <stdint.h>

/* Ends the program with this message; what is printed before counts. */
void core_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

void core_sample(const char *name, const char *unit, double value);

/* In ns: of a clock on the wall, and of this thread's own time on a CPU. */
uint64_t core_now(void);
uint64_t core_cpu_time(void);

/* An area. Of the rows that have a name up to the colon in common the first is the floor or peer.
 */
struct core_area {
	const char *name;
	bool needs_kvm; /* left out, with a word about it, where there is none */
	void (*prepare)(void);
	void (*round)(void);
};

extern const struct core_area core_exits, core_queue, core_path, core_blk, core_disk, core_threads,
	core_vsock;

/* core_exits.c: ns of the last round's exits for a port write, run loop and all. */
double core_port_exit(void);

#endif
