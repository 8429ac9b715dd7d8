#include "runtime/network_internal.h"
#include "runtime/copies.h"
#include "runtime/host_tap.h"
#include "runtime/passt.h"
#include "runtime/resolver_link.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <fcntl.h>
#include <netlink/netlink.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NETWORK_LIMIT_MS 10000
#define SPARE_BELOW	 2

struct visit {
	int netns_fd, ret;
	int (*run)(struct nl_sock *sock, void *ctx, struct error *err);
	void *ctx;
	struct error *err;
};

static int visit(const struct visit *visit)
{
	struct nl_sock *sock;
	int ret;

	if (setns(visit->netns_fd, CLONE_NEWNET) < 0)
		return error_set(visit->err, errno, "enter the container's network namespace");
	sock = nl_socket_alloc();
	ret = sock ? nl_connect(sock, NETLINK_ROUTE) : -NLE_NOMEM;
	if (ret < 0)
		ret = error_say(visit->err, EIO, "rtnetlink: %s", nl_geterror(ret));
	else
		ret = visit->run(sock, visit->ctx, visit->err);
	nl_socket_free(sock);
	return ret;
}

static void *on_thread(void *arg)
{
	struct visit *of = arg;

	of->ret = visit(of);
	return NULL;
}

int network_visit(int netns_fd, int (*run)(struct nl_sock *sock, void *ctx, struct error *err),
		  void *ctx, struct error *err)
{
	struct visit of = {.netns_fd = netns_fd, .run = run, .ctx = ctx, .err = err};
	pthread_t thread;
	int code = pthread_create(&thread, NULL, on_thread, &of);

	if (code)
		return error_set(err, code, "start a thread");
	pthread_join(thread, NULL);
	return of.ret;
}

/* Returns how many interfaces a NIC is wanted for now. */
static int count_interfaces(struct nl_sock *sock, void *ctx, struct error *err)
{
	cleanup_free struct network_interface *found = NULL;
	int ret = network_find(sock, &found, err);

	(void)ctx;
	if (ret > NETWORK_NICS_MAX)
		return error_say(
			err, ENOSPC,
			"the network namespace has %d interfaces, a VM has at most %d NICs", ret,
			NETWORK_NICS_MAX);
	return ret;
}

/* Nobody wires up a namespace that has just been made, but for hooks, as docker does: without them
 * it is what --network none means. */
static bool is_wired(const struct placement *placement, const json_t *config)
{
	return placement->netns_fd >= 0 || json_object_size(json_object_get(config, "hooks")) > 0;
}

int network_plan(struct network_slots *slots, const struct placement *placement,
		 const json_t *config, const struct settings *settings, uint32_t vcpus,
		 struct error *err)
{
	unsigned int wanted = settings_number(settings, "nics");
	const char *net = settings_text(settings, "net"), *tap = settings_text(settings, "tap");
	int count = 0, vhost = network_vhost_plan(settings, err);

	*slots = (struct network_slots){.queues = vcpus < QUEUES_MAX ? vcpus : QUEUES_MAX};
	if (vhost < 0)
		return vhost;
	slots->vhost = (enum network_vhost)vhost;
	if (net && strcmp(net, "user") == 0) {
		slots->user = true;
		slots->nics = slots->queues = 1;
		return passt_check_ports(settings_text(settings, "publish"), err);
	}
	if (tap) {
		slots->tap = true;
		slots->nics = 1;
		return host_tap_check(tap, err);
	}
	if (placement->lo_alone)
		return 0;
	if (placement->netns_fd < 0 && !placement->new_netns) {
		log_warn("linux.namespaces has no network: the VM has lo alone, the host's "
			 "interfaces cannot be shared with it");
		return 0;
	}
	if (placement->netns_fd >= 0)
		count = network_visit(placement->netns_fd, count_interfaces, NULL, err);
	if (count < 0)
		return count;
	slots->nics = count ? (unsigned int)count : 1;
	/* A spare one takes time to boot, and a place from disks, of which there may be many. */
	if (is_wired(placement, config) && slots->nics <= SPARE_BELOW)
		slots->nics++;
	if (slots->nics < wanted)
		slots->nics = wanted;
	return 0;
}

json_t *network_save(const struct network_slots *slots, const struct settings *settings)
{
	json_t *saved = json_pack("{s:i, s:i, s:i}", "nics", (int)slots->nics, "queues",
				  (int)slots->queues, "vhost", (int)slots->vhost);
	const char *publish = settings_text(settings, "publish");

	if (slots->user)
		json_object_set_new(saved, "user", json_string(publish ? publish : ""));
	if (slots->tap)
		json_object_set_new(saved, "tap", json_string(settings_text(settings, "tap")));
	return saved;
}

static struct network_slots load(const json_t *saved)
{
	json_int_t nics = json_integer_value(json_object_get(saved, "nics"));
	json_int_t queues = json_integer_value(json_object_get(saved, "queues"));
	json_int_t vhost = json_integer_value(json_object_get(saved, "vhost"));

	return (struct network_slots){
		.nics = nics > 0 && nics <= NETWORK_NICS_MAX ? (unsigned int)nics : 0,
		.queues = queues > 0 && queues <= QUEUES_MAX ? (unsigned int)queues : 1,
		.user = json_object_get(saved, "user") != NULL,
		.tap = json_object_get(saved, "tap") != NULL,
		.vhost = vhost > 0 && vhost <= NETWORK_VHOST_ON ? (enum network_vhost)vhost
								: NETWORK_VHOST_OFF,
	};
}

/* The VMM's namespace in *out, or -1 there when it is our own. */
static int open_netns(pid_t vmm, int *out, struct error *err)
{
	char path[40];
	cleanup_fd int fd = -1;
	struct stat theirs, ours;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", vmm);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &theirs) < 0 || stat("/proc/self/ns/net", &ours) < 0)
		return error_set(err, errno, "open the VMM's network namespace");
	*out = theirs.st_ino == ours.st_ino ? -1 : take_fd(&fd);
	return 0;
}

int network_join_one(struct control *control, struct nl_sock *sock,
		     const struct network_interface *interface, unsigned int nic,
		     const struct network_slots *slots, struct error *err)
{
	int fds[QUEUES_MAX], ret;

	ret = network_tap(sock, interface, nic, slots->queues, fds, err);
	if (ret < 0)
		return error_prefix(err, ret, "interface %s", interface->name);
	ret = network_attach(control, nic, fds, slots->queues, slots->vhost, err);
	for (unsigned int i = 0; i < slots->queues; i++)
		close(fds[i]);
	return ret;
}

/* Before the guest knows of it, and asks. */
static int link_resolver(struct control *control, struct error *err)
{
	cleanup_fd int fd = resolver_link_start(err);
	struct control_fds sent = {&fd, 1};

	return fd < 0 ? fd : control_attach(control, PROTO_ATTACH_RESOLVER, 0, NULL, 0, &sent, err);
}

static int tell_guest(struct control *control, const json_t *body, struct error *err)
{
	cleanup_free char *text = json_dumps(body, JSON_COMPACT);

	if (!text)
		return error_set(err, ENOMEM, "make the request");
	if (strlen(text) > PROTO_BODY_MAX)
		return error_say(err, EMSGSIZE, "the network has too many routes to be sent");
	return control_request(control, PROTO_NETWORK, text, strlen(text), NETWORK_LIMIT_MS, NULL,
			       err);
}

int network_tell(struct control *control, const json_t *body, struct error *err)
{
	int ret = json_is_true(json_object_get(body, "resolver")) ? link_resolver(control, err) : 0;

	return ret < 0 ? ret : tell_guest(control, body, err);
}

bool network_put_files(json_t *body, json_t *copies)
{
	json_t *files = copies_changed(copies);

	return files && json_object_set_new(body, "files", files) == 0;
}

/*
 * The log that was named at create is the VMM's: what is to be said when nobody waits for it any
 * more goes there. A VMM that does not read holds up nobody.
 */
static int open_log(struct control *control, struct error *err)
{
	cleanup_fd int read_fd = -1, write_fd = -1;
	struct control_fds sent = {&read_fd, 1};
	int ends[2], ret;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return error_set(err, errno, "pipe");
	read_fd = ends[0];
	write_fd = ends[1];
	ret = control_attach(control, PROTO_ATTACH_LOG, 0, NULL, 0, &sent, err);
	return ret < 0 ? ret : take_fd(&write_fd);
}

/* Returns how many interfaces there were. */
static int join_all(struct nl_sock *sock, void *ctx, struct error *err)
{
	struct network_joined *joined = ctx;
	struct control *control = joined->control;
	cleanup_free struct network_interface *found = NULL;
	json_t *body;
	int count, ret = 0;

	/* First: what comes after we have looked is seen by who goes on to watch. */
	joined->events_fd = network_watch_open();
	if (joined->events_fd < 0)
		return error_set(err, -joined->events_fd, "watch the interfaces");
	count = network_find(sock, &found, err);
	if (count <= 0)
		return count;
	if ((unsigned int)count > joined->slots.nics)
		return error_say(err, ENOSPC,
				 "the network namespace has %d interfaces, the VM was made with %u "
				 "NICs: set the annotation io.bulkhead.nics",
				 count, joined->slots.nics);
	memcpy(joined->nics, found, (size_t)count * sizeof(*found));
	for (unsigned int i = 0; ret == 0 && i < (unsigned int)count; i++)
		ret = network_join_one(control, sock, &found[i], i, &joined->slots, err);
	if (ret < 0)
		return ret;
	joined->body = network_describe(sock, joined->nics, (unsigned int)count, err);
	if (!joined->body)
		return -EIO;
	body = json_copy(joined->body);
	network_put_files(body, joined->copies);
	ret = network_tell(control, body, err);
	json_decref(body);
	if (ret == 0)
		ret = joined->log_fd = open_log(control, err);
	return ret < 0 ? ret : count;
}

/* passt lives where the runtime does: on the host, or in the namespace of a rootless engine. */
static int join_user(struct control *control, const char *ports, struct error *err)
{
	cleanup_fd int fd = passt_start(ports, err);
	struct control_fds sent = {&fd, 1};
	json_t *body;
	int ret;

	if (fd < 0)
		return fd;
	ret = control_attach(control, PROTO_ATTACH_NET, 0, NULL, 0, &sent, err);
	if (ret < 0)
		return ret;
	body = passt_describe();
	ret = body ? tell_guest(control, body, err) : error_set(err, ENOMEM, "passt");
	json_decref(body);
	return ret;
}

static int join_tap(struct control *control, const char *tap, const struct network_slots *slots,
		    struct error *err)
{
	int fds[QUEUES_MAX], ret, count = host_tap_open(tap, slots->queues, fds, err);
	json_t *body;

	if (count < 0)
		return count;
	ret = network_attach(control, 0, fds, (unsigned int)count, slots->vhost, err);
	for (int i = 0; i < count; i++)
		close(fds[i]);
	if (ret < 0)
		return ret;
	body = host_tap_describe(tap, err);
	ret = body ? tell_guest(control, body, err) : -EIO;
	json_decref(body);
	return ret;
}

void network_joined_destroy(struct network_joined *joined)
{
	if (!joined)
		return;
	close_fd(&joined->netns_fd);
	close_fd(&joined->events_fd);
	close_fd(&joined->log_fd);
	json_decref(joined->body);
	json_decref(joined->copies);
	free(joined);
}

int network_join(struct control *control, pid_t vmm, const json_t *saved, json_t *copies,
		 struct network_joined **out, struct error *err)
{
	static const char where[] = "the container's network";
	struct network_slots slots = load(saved);
	const char *user = json_string_value(json_object_get(saved, "user"));
	const char *tap = json_string_value(json_object_get(saved, "tap"));
	struct network_joined *joined;
	int ret;

	*out = NULL;
	if (!slots.nics)
		return 0;
	if (slots.user)
		return error_prefix(err, join_user(control, user, err), where);
	if (slots.tap)
		return error_prefix(err, join_tap(control, tap, &slots, err), where);
	joined = calloc(1, sizeof(*joined));
	if (!joined)
		return error_set(err, ENOMEM, where);
	joined->slots = slots;
	joined->copies = json_incref(copies);
	joined->netns_fd = joined->events_fd = joined->log_fd = -1;
	joined->control = control;
	ret = open_netns(vmm, &joined->netns_fd, err);
	if (ret == 0 && joined->netns_fd >= 0)
		ret = network_visit(joined->netns_fd, join_all, joined, err);
	if (ret > 0)
		*out = joined;
	else
		network_joined_destroy(joined);
	return ret < 0 ? error_prefix(err, ret, where) : 0;
}
