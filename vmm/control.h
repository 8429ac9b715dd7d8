/*
 * The control protocol as the VMM serves it: clients on one side, the agent on the other, and the
 * state of the container between them.
 */
#ifndef VMM_CONTROL_H
#define VMM_CONTROL_H

#include "protocol/counters.h"
#include "common/records.h"
#include "vmm/agent.h"
#include "vmm/options.h"
#include "vmm/stdio.h"

#define CONTROL_CLIENTS_MAX 64

struct control;

struct control_events {
	/* The agent said HELLO: it lives. */
	void (*agent_ready)(void *ctx);
	/* Process 0 has ended with this wait status. */
	void (*workload_ended)(void *ctx, uint32_t status);
	/*
	 * The container is over without a workload that ended. told: whoever asked has had his
	 * answer. why: one line.
	 */
	void (*failed)(void *ctx, bool told, const char *why);
	/* The agent's connection has ended; perhaps the machine soon says why. */
	void (*agent_lost)(void *ctx, const char *why);
	/* SHUTDOWN while there is no agent to ask. */
	void (*shutdown)(void *ctx);
	/* ATTACH, with the frame's descriptors to take. Returns 0, or a negative errno and why. */
	int (*attach)(void *ctx, const struct proto_attach *what, const void *parameters,
		      size_t len, const struct proto_frame *frame, struct error *err);
	/* COUNTERS: fills them in. Returns 0 or a negative errno. */
	int (*counters)(void *ctx, struct proto_counters *counters);
	/*
	 * HOLD: the machine is to rest; control_held tells the outcome. From then on SAVE, and in
	 * any case release when who asked has gone. save returns 0, or a negative errno and why.
	 */
	void (*hold)(void *ctx);
	int (*save)(void *ctx, const struct vmm_template *to, struct error *err);
	void (*release)(void *ctx);
	/* Fills in the moments that the machine knows. */
	void (*marks)(void *ctx, struct proto_status *status);
};

struct control_config {
	struct loop *loop;
	int listen_fd; /* -1: none; taken over, as parent_fd */
	int parent_fd;
	int oom_fd;	     /* -1: none; taken over: gets a line for the first that was killed */
	struct stdio *stdio; /* of process 0, not owned */
	const struct control_events *events;
	void *ctx;
};

int control_create(struct control **out, const struct control_config *config, struct error *err);
void control_destroy(struct control *control);

/* The guest connects to PROTO_PORT_CONTROL. */
int control_agent_connect(struct control *control, struct vsock_endpoint *endpoint);

/*
 * The machine goes on from a saved one, in which the agent waits for work: gives it an identity of
 * its own, and then what there is to do. The workload waits for so many bytes of memory more.
 */
int control_resume(struct control *control, uint64_t memory_more);

/*
 * What is to be remembered of a container that runs: records of a snapshot. save fails with EBUSY
 * while something is under way; load comes before the machine is built, whose guest then connects
 * what it had connected.
 */
int control_save(const struct control *control, struct records *out, struct error *err);
int control_load(struct control *control, const struct records *in, struct error *err);

/* The outcome of hold: 0, or a negative errno and why. */
void control_held(struct control *control, int ret, const char *why);

/* The machine is made anew: the agent will connect again. */
void control_reset(struct control *control);

/* The guest's connections to the ports of streams, as the vsock device tells of them. */
int control_stdio_connect(struct control *control, uint32_t port, struct vsock_endpoint *endpoint);
void control_stdio_closed(struct control *control, uint32_t port);
void control_stdio_buffered(struct control *control, uint32_t port, bool buffered);

enum proto_state control_state(const struct control *control);

/* Sends a signal to process 0. Returns 0, or -ESRCH while there is no such process. */
int control_signal(struct control *control, int sig);

/* Whether somebody has asked the agent to shut down. */
bool control_shutting_down(const struct control *control);

/*
 * No more requests are taken. Answers all that wait: with the end of the process for WAIT when
 * exit_status is given, with ERROR, this code and this text otherwise.
 */
void control_finish(struct control *control, const uint32_t *exit_status, int code,
		    const char *text);

/* Whether who asked for the container is still connected: it tells the user what it is told. */
bool control_has_parent(const struct control *control);

/* Whether every client has what was said to it, the parent an answer to its CREATE. */
bool control_flushed(const struct control *control);

#endif
