/* What the parts of the control side share: control.c, and control_exec.c for processes of exec. */
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
	struct agent_request held;
	uint8_t *held_body;
	size_t held_len;
};

/* A client that has gone (NULL) gets no answer; one that does not read is given up. */
void control_answer(void *client, uint32_t id, enum proto_type type, const void *body, size_t len);
void control_answer_error(void *client, uint32_t id, int code, const char *text);

/* control_exec.c */
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
