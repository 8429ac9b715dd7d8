/*
 * The container's network (docs/network.md): what is in its network namespace on the host, joined
 * to the VM's NICs and told to the guest.
 */
#ifndef RUNTIME_NETWORK_H
#define RUNTIME_NETWORK_H

#include "runtime/command.h"
#include "runtime/control_client.h"
#include "runtime/placement.h"
#include "runtime/settings.h"
#include "runtime/state.h"

#include <jansson.h>
#include <stdbool.h>

#define NETWORK_NICS_MAX SETTINGS_MAX_NICS

/* Whether the host's kernel serves the NICs' queues (vhost-net). */
enum network_vhost {
	NETWORK_VHOST_OFF,
	NETWORK_VHOST_AUTO, /* where it can */
	NETWORK_VHOST_ON,   /* or it is an error */
};

/* What of the VM's network is fixed when it is made. */
struct network_slots {
	unsigned int nics;
	unsigned int queues; /* of a tap, and at most the pairs of a NIC's queues */
	bool user;	     /* one NIC, for passt: a stream of frames */
	bool tap;	     /* one NIC, for a tap of the host's: host_tap.h */
	enum network_vhost vhost;
};

/*
 * How many NICs the VM is to have: as many as the namespace has interfaces for them, one where they
 * come later, as docker's do, and where somebody wires it up at all one to spare for what comes
 * while it runs; or what the setting "nics" says, if that is more. None without a namespace of its
 * own: the host's interfaces are the host's.
 */
int network_plan(struct network_slots *slots, const struct placement *placement,
		 const json_t *config, const struct settings *settings, uint32_t vcpus,
		 struct error *err);

/* What network_join needs of it later. */
json_t *network_save(const struct network_slots *slots, const struct settings *settings);

struct network_joined;

/*
 * Joins every interface in the namespace of the VMM to a NIC, and has the guest set them up. saved
 * is what network_save gave. Copies (copies.h) that changed since create are told anew. *out is the
 * caller's: NULL when there was nothing to join.
 */
int network_join(struct control *control, pid_t vmm, const json_t *saved, json_t *copies,
		 struct network_joined **out, struct error *err);
void network_joined_destroy(struct network_joined *joined);

/*
 * From now on a process of its own, which ends with the VMM, has the guest follow what is changed
 * in the namespace; what it has to say goes into the VMM's log. Does nothing for NULL.
 */
int network_watch(struct network_joined *joined, const struct state *state, struct error *err);

#endif
