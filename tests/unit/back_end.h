/*
 * The other side of vhost-user, as little of it as a test needs: a thread that answers the front
 * end's messages, notes what they say, and misbehaves when it is told to.
 */
#ifndef TESTS_UNIT_BACK_END_H
#define TESTS_UNIT_BACK_END_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/guest_memory.h"
#include "devices/virtqueue.h"

#define BACK_END_QUEUES 2

/* Messages that tests name. */
#define BACK_END_GET_FEATURES	       1
#define BACK_END_SET_MEM_TABLE	       5
#define BACK_END_GET_VRING_BASE	       11
#define BACK_END_GET_PROTOCOL_FEATURES 15
#define BACK_END_GET_QUEUE_NUM	       17
#define BACK_END_SET_VRING_ENABLE      18
#define BACK_END_ADD_MEM_REG	       37

enum back_end_fault {
	BACK_END_GOOD,
	BACK_END_WRONG_REQUEST,
	BACK_END_TOO_LONG,
	BACK_END_TOO_SHORT,
	BACK_END_NO_REPLY_FLAG,
	BACK_END_REFUSES,
	BACK_END_CLOSES,
	BACK_END_HALF, /* closes within the reply */
	BACK_END_SILENT,
	BACK_END_SENDS_FDS, /* is tolerated */
};

struct back_end {
	int fd;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool ended;

	/* What it offers, and how it misbehaves at which message. */
	uint64_t features, protocol, queue_count;
	bool keeps_record;
	uint32_t fault_at;
	enum back_end_fault fault;

	/* What the front end has said. */
	uint64_t acked, acked_protocol;
	uint32_t region_count;
	struct {
		uint64_t gpa, len, user_addr, fd_offset;
	} regions[8];
	struct back_end_vring {
		uint32_t size, base;
		uint64_t desc, used, avail;
		int kick_fd, call_fd;
		bool enabled;
		unsigned int stops;
		struct virtqueue vq; /* for back_end_pop and back_end_push */
	} vrings[BACK_END_QUEUES];
	uint8_t *record;
	uint64_t record_len;
};

/* Starts it; returns the front end's socket. */
int back_end_start(struct back_end *back_end);

/* Ends it, as a daemon that dies. Harmless twice. */
void back_end_end(struct back_end *back_end);
void back_end_destroy(struct back_end *back_end);

/* Waits until the queue is served, or was taken back that often. */
void back_end_wait_enabled(struct back_end *back_end, unsigned int queue);
void back_end_wait_stops(struct back_end *back_end, unsigned int queue, unsigned int stops);

/* Takes a request, noting it in the record, if there is one; answers it. */
bool back_end_pop(struct back_end *back_end, const struct guest_memory *mem, unsigned int queue,
		  struct virtqueue_chain *chain);
void back_end_push(struct back_end *back_end, unsigned int queue,
		   const struct virtqueue_chain *chain, uint32_t len);

/* Whether the driver's kick has arrived. */
bool back_end_kicked(struct back_end *back_end, unsigned int queue);

#endif
