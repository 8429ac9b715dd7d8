/*
 * The link to the agent in the guest: it connects once, says HELLO, answers requests, reports ends.
 * Whatever it says is hostile: every frame that does not fit ends the link.
 */
#ifndef VMM_AGENT_H
#define VMM_AGENT_H

#include "devices/vsock.h"
#include "vmm/peer.h"

/* Requests without an answer at one time; a WAIT stays until its process ends. */
#define AGENT_REQUESTS_MAX 1024

/* Who asked for what. A client that has gone is NULL; so are the VMM's own requests. */
struct agent_request {
	uint32_t id; /* on the link, 0: unused */
	enum proto_type type;
	uint32_t process; /* of a WAIT or EXEC; of a FREEZE whether it freezes */
	void *client;
	uint32_t client_id;
};

struct agent_events {
	void (*hello)(void *ctx);
	void (*reply)(void *ctx, const struct agent_request *request,
		      const struct proto_frame *frame);
	void (*exited)(void *ctx, const struct proto_exited *exited);
	void (*oom)(void *ctx, const struct proto_oom *oom);
	/* why: one line. Nothing comes afterwards. */
	void (*lost)(void *ctx, const char *why);
};

struct agent {
	struct loop *loop;
	const struct agent_events *events;
	void *ctx;
	struct peer peer;
	bool connected; /* has been: there is no second time */
	bool ready;	/* HELLO was exchanged, the link stands */
	uint32_t last_id;
	struct agent_request requests[AGENT_REQUESTS_MAX];
};

void agent_init(struct agent *agent, struct loop *loop, const struct agent_events *events,
		void *ctx);
void agent_destroy(struct agent *agent);

/* A connection from the guest to PROTO_PORT_CONTROL: gives the device its end. */
int agent_connect(struct agent *agent, struct vsock_endpoint *endpoint);

/*
 * The machine goes on from a saved one, and agent_connect has been called: HELLO was exchanged
 * then.
 */
void agent_resume(struct agent *agent);

/*
 * Asks the agent. Of request, id is chosen here. Returns 0, -ENOTCONN, or -ENOBUFS when too much is
 * unanswered.
 */
int agent_ask(struct agent *agent, const struct agent_request *request, const void *body,
	      size_t len);

/* The client is gone: answers to it are dropped. */
void agent_forget(struct agent *agent, const void *client);

/* Takes all unanswered requests out, one after the other. Returns false when there is none. */
bool agent_take_request(struct agent *agent, struct agent_request *out);

#endif
