/* What the agent knows: its connections, the container, and the container's processes. */
#ifndef GUEST_AGENT_AGENT_H
#define GUEST_AGENT_AGENT_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/loop.h"
#include "guest-agent/cgroup_watch.h"
#include "guest-agent/stdio.h"
#include "protocol/protocol.h"

#define WAITERS_MAX 8 /* WAIT requests of one process */

enum task_state {
	TASK_FREE,
	TASK_SETTING_UP, /* until it says SYNC_READY; CREATE waits for this */
	TASK_CREATED,	 /* waits for SYNC_GO */
	TASK_STARTING,	 /* until its exec; START or EXEC wait for this */
	TASK_RUNNING,
	TASK_REPORTED, /* has ended, and who had to know was told */
};

/* A process of the container, as the protocol counts them. */
struct task {
	struct agent *agent;
	uint32_t number;
	enum task_state state;
	pid_t pid;   /* -1 once reaped */
	int pidfd;   /* -1 when there is none */
	int sync_fd; /* -1 after the exec */
	struct loop_watch sync_watch;
	uint32_t request; /* id to be answered when the state changes, 0: none */
	bool failed;	  /* set-up failed and was answered: its end is no news */
	int early_signal; /* ended by this before it ran */
	int status;	  /* when pid is -1 */
	bool terminal;
	uint32_t waiters[WAITERS_MAX];
	struct channel channels[PROTO_STREAMS];
};

struct container {
	json_t *document; /* CREATE's body; NULL: no container */
	const json_t *config, *seccomp, *binds;
	int namespaces;
	int cgroup_fd;
	struct cgroup_watch watch;
	bool ended; /* process 0 was reaped */
};

struct agent {
	struct loop loop;
	uint64_t started_ns;
	uint64_t memory_at_boot; /* bytes */
	int control_fd;
	struct loop_watch control_watch;
	struct proto_reader reader;
	int signal_fd;
	struct loop_watch signal_watch;
	int own_pid_ns;
	struct container container;
	struct task *tasks[PROTO_PROCESS_MAX];
};

/* main.c: a line to the kernel's log; and the ways out, which do not return. */
void agent_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
__attribute__((noreturn)) void agent_power_off(void);

/* control.c: requests and replies. */
int control_open(struct agent *agent, struct error *err);
void control_reply(struct agent *agent, uint32_t id, const void *body, size_t len);
void control_reply_error(struct agent *agent, uint32_t id, int code, const char *text);
void control_exited(struct agent *agent, uint32_t number, int status);
void control_oom(struct agent *agent, uint64_t kills);

/* container.c: the container as a whole. */
int container_create(struct agent *agent, json_t *document, uint32_t request, struct error *err);
void container_destroy(struct agent *agent);
int container_exec(struct agent *agent, uint32_t number, const json_t *process, uint32_t request,
		   struct error *err);

/* task.c: one process of it. */
int task_new(struct agent *agent, uint32_t number, struct task **out, struct error *err);
int task_start(struct task *task, const json_t *process, uint32_t request, struct error *err);
void task_go(struct task *task, uint32_t request);
int task_signal(struct task *task, int sig);
int task_resize(struct task *task, unsigned short rows, unsigned short columns);
int task_wait(struct task *task, uint32_t request);
void task_reaped(struct task *task, int status);
void task_free(struct task *task);
struct task *task_find(struct agent *agent, uint32_t number);

/* vsock.c */
int vsock_connect(uint32_t port);

#endif
