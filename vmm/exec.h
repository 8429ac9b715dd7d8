/*
 * The processes that exec has started: their numbers, their streams, and who on the host stands
 * for each. The VMM chooses the numbers, since the guest connects the streams before it answers.
 */
#ifndef VMM_EXEC_H
#define VMM_EXEC_H

#include "vmm/stdio.h"

struct exec_process {
	enum { EXEC_FREE, EXEC_ASKED, EXEC_RUNNING } state;
	bool ended; /* the agent has said so; told once the output has left */
	uint32_t status;
	void *owner;	 /* who asked, and is to be told of its end; NULL once gone */
	uint32_t holder; /* the owner's pid */
	struct stdio stdio;
};

struct exec_table {
	struct exec_process at[PROTO_PROCESS_MAX]; /* 0 is not exec's */
	uint32_t last;
	/* The process has ended and what it said has left. The owner is not NULL. */
	void (*ended)(void *ctx, void *owner, uint32_t process, uint32_t status);
	void *ctx;
};

void exec_table_init(struct exec_table *table);
void exec_table_destroy(struct exec_table *table);

/*
 * A number for a new process, whose descriptors are taken over: three, or one of a terminal.
 * Returns -EAGAIN when there are too many.
 */
int exec_add(struct exec_table *table, void *owner, uint32_t holder, const int *fds,
	     unsigned int count);

/* The process that this number or vsock port belongs to, or NULL. */
struct exec_process *exec_find(struct exec_table *table, uint32_t process);
struct exec_process *exec_of_port(struct exec_table *table, uint32_t port);

/* The agent has answered the EXEC. */
void exec_answered(struct exec_table *table, uint32_t process, bool started);

/* The agent has said that it ended. */
void exec_exited(struct exec_table *table, uint32_t process, uint32_t status);

/* Something about the streams has changed: perhaps there is an end to be told now. */
void exec_settle(struct exec_table *table, uint32_t process);

/* All of them are over, with this status where none is known. */
void exec_end_all(struct exec_table *table, uint32_t status);

/* The next process of this owner, after number (begin with 0), or 0. */
uint32_t exec_next_of(const struct exec_table *table, const void *owner, uint32_t number);

#endif
