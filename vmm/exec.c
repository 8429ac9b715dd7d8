#include "vmm/exec.h"

#include <errno.h>
#include <string.h>

#include "common/cleanup.h"

void exec_table_init(struct exec_table *table)
{
	memset(table, 0, sizeof(*table));
	for (uint32_t i = 0; i < PROTO_PROCESS_MAX; i++)
		table->at[i].stdio = (struct stdio)STDIO_INIT;
}

void exec_table_destroy(struct exec_table *table)
{
	for (uint32_t i = 0; i < PROTO_PROCESS_MAX; i++)
		stdio_destroy(&table->at[i].stdio);
}

/* A guest that keeps a stream open keeps the number too: it harms itself alone. */
static bool is_free(const struct exec_process *process)
{
	return process->state == EXEC_FREE && !stdio_is_open(&process->stdio);
}

int exec_add(struct exec_table *table, void *owner, uint32_t holder, const int *fds,
	     unsigned int count)
{
	/* In turn: what is left of an old process is not taken for the new one's. */
	for (uint32_t i = 0; i < PROTO_PROCESS_MAX - 1; i++) {
		uint32_t number = (table->last + i) % (PROTO_PROCESS_MAX - 1) + 1;
		struct exec_process *process = &table->at[number];

		if (!is_free(process))
			continue;
		stdio_destroy(&process->stdio);
		*process = (struct exec_process){
			.state = EXEC_ASKED, .owner = owner, .holder = holder};
		stdio_adopt(&process->stdio, number, fds, count);
		table->last = number;
		return (int)number;
	}
	return -EAGAIN;
}

struct exec_process *exec_find(struct exec_table *table, uint32_t process)
{
	return process > 0 && process < PROTO_PROCESS_MAX ? &table->at[process] : NULL;
}

struct exec_process *exec_of_port(struct exec_table *table, uint32_t port)
{
	return port < PROTO_PORT_STDIO
		       ? NULL
		       : exec_find(table, (port - PROTO_PORT_STDIO) / PROTO_STREAMS);
}

static void give_up(struct exec_process *process)
{
	process->state = EXEC_FREE;
	process->owner = NULL;
	/* What the guest has not connected by now it will not need. */
	for (int i = 0; i < PROTO_STREAMS; i++)
		close_fd(&process->stdio.fds[i]);
}

static void tell(struct exec_table *table, uint32_t number, uint32_t status)
{
	void *owner = table->at[number].owner;

	give_up(&table->at[number]);
	if (owner)
		table->ended(table->ctx, owner, number, status);
}

void exec_settle(struct exec_table *table, uint32_t number)
{
	struct exec_process *process = exec_find(table, number);

	/*
	 * Others may hold its streams for longer; what it wrote itself is waited for. A terminal is
	 * given back first: from then on what is typed is its owner's again.
	 */
	if (process && process->state == EXEC_RUNNING && process->ended &&
	    !stdio_has_output(&process->stdio) && process->stdio.terminal_fd < 0)
		tell(table, number, process->status);
}

void exec_answered(struct exec_table *table, uint32_t number, bool started)
{
	struct exec_process *process = exec_find(table, number);

	if (!process || process->state != EXEC_ASKED)
		return;
	if (!started) {
		give_up(process);
		return;
	}
	process->state = EXEC_RUNNING;
	exec_settle(table, number);
}

void exec_exited(struct exec_table *table, uint32_t number, uint32_t status)
{
	struct exec_process *process = exec_find(table, number);

	if (!process || process->state == EXEC_FREE || process->ended)
		return;
	process->ended = true;
	process->status = status;
	exec_settle(table, number);
}

void exec_end_all(struct exec_table *table, uint32_t status)
{
	for (uint32_t i = 1; i < PROTO_PROCESS_MAX; i++)
		if (table->at[i].state == EXEC_RUNNING)
			tell(table, i, table->at[i].ended ? table->at[i].status : status);
}

uint32_t exec_next_of(const struct exec_table *table, const void *owner, uint32_t number)
{
	for (uint32_t i = number + 1; i < PROTO_PROCESS_MAX; i++)
		if (table->at[i].state != EXEC_FREE && table->at[i].owner == owner)
			return i;
	return 0;
}
