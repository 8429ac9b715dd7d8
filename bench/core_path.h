/* A disk or a NIC and a synthetic driver that has it work in batches (bench/core_path.c). */
#ifndef BENCH_CORE_PATH_H
#define BENCH_CORE_PATH_H

#include "bench/core.h"
#include "devices/blk.h"
#include "devices/net.h"
#include "tests/unit/driver.h"

#define PATH_BUFFERS 128u /* that a driver has for what comes */

/* Packets from the guest go to a socket that this thread reads, or to a tap whose host takes none.
 */
enum path_way { READ, WRITE, SEND, RECEIVE, TAP_SINGLY, TAP };

struct path {
	struct driver driver;
	enum path_way way;
	struct io_thread *thread; /* shared, or NULL */
	struct blk *blk;	  /* one of both */
	struct net *net;
	int outside; /* the other end of the network; -1: a tap's */
	unsigned int queue;
	uint64_t buffers[PATH_BUFFERS];
};

/* The driver begins once a thread that is shared runs. */
void path_open(struct path *path, enum path_way way, struct io_thread *thread);
void path_begin(struct path *path);
/* So many requests or packets, and waiting for them. */
void path_submit(struct path *path, unsigned int batch, unsigned int round);
void path_take(struct path *path, unsigned int batch);
/* After the end of a thread that is shared. */
void path_close(struct path *path);

#endif
