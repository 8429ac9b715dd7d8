/*
 * What the parts of the control side share: control.c, which has the clients, and one file each for
 * what clients ask, what the agent says, processes of exec and snapshots.
 */
#ifndef VMM_CONTROL_INTERNAL_H
#define VMM_CONTROL_INTERNAL_H

#include "vmm/control.h"
#include "vmm/exec.h"

struct client {
	struct peer peer;
	struct control *control;
	bool parent;
	bool wants_events;
	struct client *next;
};

struct control {
	struct control_config config;
	struct agent agent;
	struct loop_watch listen_watch;
	int listen_fd;
	struct client *clients;
	unsigned int client_count;
	enum proto_state state;
	uint32_t exit_status;
	uint64_t agent_ready_ns;
	uint64_t created_ns;
	uint64_t started_ns;
	bool create_seen;
	bool start_seen;
	bool resumed;	      /* the machine goes on from a saved one */
	uint64_t memory_more; /* and gets so many bytes more than that had */
	bool shutting_down;
	bool paused;
	uint64_t oom_kills;
	struct exec_table execs;

	/* control_finish was called; what it said is said to late requests too. */
	bool finished;
	int end_code;
	char *end_text;

	/* Who has asked for the machine to rest; NULL: nobody. */
	struct client *holder;
	uint32_t hold_id; /* its HOLD, 0 once that is answered */

	/* CREATE that came before the agent: it waits here. */
	struct agent_request early;
	uint8_t *early_body;
	size_t early_len;
};

/* A client that has gone (NULL) gets no answer; one that does not read is given up. */
void control_answer(void *client, uint32_t id, enum proto_type type, const void *body, size_t len);
void control_answer_error(void *client, uint32_t id, int code, const char *text);

/* OK, or ERROR with the negative errno's code and why. */
void control_answer_outcome(void *client, uint32_t id, int ret, const char *why);

/* --- control_requests.c --- */

/* What a client says, as peer_init wants it. */
void control_client_frame(struct peer *peer, const struct proto_frame *frame);

/* To the agent, whose answer goes to the client; or an answer at once that it cannot be asked. */
void control_relay(struct control *control, const struct agent_request *request, const void *body,
		   size_t len);

/* --- control_agent.c --- */

/* There is no agent yet. */
void control_agent_init(struct control *control);

/* --- control_snapshot.c --- */

void control_hold_request(struct control *control, const struct agent_request *request);
void control_save_request(struct control *control, const struct agent_request *request,
			  const struct proto_frame *frame);

/* The machine goes on if it rests for this client. */
void control_holder_gone(struct control *control, const struct client *client);

/* --- control_exec.c --- */

void control_exec_init(struct control *control);
void control_exec_request(struct control *control, struct agent_request *request,
			  const struct proto_frame *frame);
/* The agent has answered an EXEC; of an ERROR the client knows already. */
void control_exec_answered(struct control *control, const struct agent_request *request, bool ok);
void control_holders_request(struct control *control, const struct agent_request *request);

/* Whatever happens to who stands for a process happens to the process. */
void control_exec_kill_of(struct control *control, struct client *client);

/* Tells the guest the size that a process's terminal has on the host. */
void control_tell_size(struct control *control, uint32_t process);

#endif
