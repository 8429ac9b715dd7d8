/*
 * COUNTERS's answer: what the VMM counts for itself. Two counts, then so many struct
 * proto_vcpu_counters and struct proto_queue_counters. All numbers since the VM was made.
 */
#ifndef PROTOCOL_COUNTERS_H
#define PROTOCOL_COUNTERS_H

#include "protocol/protocol.h"

#define PROTO_VCPUS_MAX	 256
#define PROTO_QUEUES_MAX 256
#define PROTO_BATCHES	 9 /* 1, 2-3, 4-7, ... 256 and more requests */

/* Why a vCPU left the guest for the VMM. What KVM deals with itself is not among it. */
enum proto_exit {
	PROTO_EXIT_PORT,
	PROTO_EXIT_MMIO,
	PROTO_EXIT_SIGNAL, /* the VMM's own doing */
	PROTO_EXIT_OTHER,
	PROTO_EXITS,
};

struct proto_vcpu_counters {
	uint64_t exits[PROTO_EXITS];
} __attribute__((packed));

struct proto_queue_counters {
	char device[16]; /* terminated */
	uint64_t queue;	 /* its number */
	uint64_t packed; /* 1: a packed ring */
	uint64_t requests;
	uint64_t bytes_out, bytes_in; /* from the guest, to it */
	uint64_t kicks;
	uint64_t interrupts, suppressed;
	uint64_t errors;
	uint64_t batches[PROTO_BATCHES];
} __attribute__((packed));

struct proto_counters {
	uint32_t vcpu_count, queue_count;
	struct proto_vcpu_counters vcpus[PROTO_VCPUS_MAX];
	struct proto_queue_counters queues[PROTO_QUEUES_MAX];
};

/* Returns 0 or -EPROTO. */
int proto_decode_counters(const struct proto_frame *frame, struct proto_counters *out);

/* Returns the length of what is in out, which has room for sizeof(struct proto_counters). */
size_t proto_encode_counters(const struct proto_counters *counters, uint8_t *out);

#endif
