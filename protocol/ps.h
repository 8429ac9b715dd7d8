/*
 * PS's answer: the processes of a container as the guest's kernel knows them. A struct
 * proto_ps_list, then for each process a struct proto_ps, its name and its arguments, each of which
 * ends with a NUL. The host takes nothing of it on trust: every length is checked, text is cleaned.
 */
#ifndef PROTOCOL_PS_H
#define PROTOCOL_PS_H

#include "protocol/protocol.h"

#define PROTO_PS_NAME_MAX 64   /* bytes of a name, and */
#define PROTO_PS_ARGS_MAX 4096 /* of the arguments */

#define PROTO_PS_CUT 1u /* there are more than fit into a frame */

struct proto_ps_list {
	uint32_t count;
	uint32_t flags;
} __attribute__((packed));

struct proto_ps {
	uint32_t pid;  /* in the container's pid namespace */
	uint32_t ppid; /* 0: outside of the container */
	uint32_t uid;
	uint32_t gid;
	uint32_t tty;	/* the kernel's device number, 0: none */
	uint32_t state; /* a letter, as in /proc/PID/stat */
	int32_t nice;
	uint32_t threads;
	uint64_t elapsed_ms; /* since its start */
	uint64_t cpu_ms;
	uint64_t vsz_kib;
	uint64_t rss_kib;
	uint16_t name_len;
	uint16_t args_len;
} __attribute__((packed));

/* A process with its text; name and args are terminated. */
struct proto_ps_entry {
	struct proto_ps ps;
	char name[PROTO_PS_NAME_MAX + 1];
	char args[PROTO_PS_ARGS_MAX + 1];
};

/* Reads an answer entry by entry. */
struct proto_ps_reader {
	const uint8_t *at;
	size_t left;
	uint32_t count; /* entries to come */
	bool cut;
};

/* Returns 0 or -EPROTO. The frame must outlive the reader. */
int proto_ps_begin(struct proto_ps_reader *reader, const struct proto_frame *frame);

/* Returns 1 with *entry, 0 after the last, or -EPROTO. */
int proto_ps_next(struct proto_ps_reader *reader, struct proto_ps_entry *entry);

/* An answer under construction: zeroed at first, its bytes are malloc'ed. */
struct proto_ps_writer {
	uint8_t *bytes;
	size_t used, size;
};

/*
 * Adds a process, whose name_len and args_len count here. Returns 0, or a negative errno. What does
 * not fit into a frame is left out, and said to be.
 */
int proto_ps_add(struct proto_ps_writer *writer, const struct proto_ps *ps, const char *name,
		 const char *args);

#endif
