#include "runtime/vm_grow.h"
#include "runtime/cgroup.h"
#include "runtime/vm_size.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "protocol/stats.h"

#include <endian.h>
#include <jansson.h>
#include <time.h>

#define LIMIT_MS 10000 /* for an answer */
/* The guest's kernel adds some GiB a second; it unplugs what is free at once, the rest perhaps. */
#define PLUG_MS	  30000
#define UNPLUG_MS 10000
#define LOOK_MS	  20
/* Each costs the guest's kernel 2 MiB: it is to have whole ones. */
#define STEP ((uint64_t)VM_SIZE_STEP_MIB << 20)

static uint64_t in_ms(uint64_t ms)
{
	return monotonic_ns() + ms * 1000000u;
}

static void rest(void)
{
	nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000}, NULL);
}

static int request(struct control *control, uint64_t bytes, struct error *err)
{
	uint64_t body = htole64(bytes);

	return control_attach(control, PROTO_ATTACH_MEMORY, 0, &body, sizeof(body), NULL, err);
}

/* What the workload sees: MemTotal. */
static int guest_total(struct control *control, uint64_t *bytes, struct error *err)
{
	static struct proto_stats_full full;
	struct proto_frame reply;
	int ret = control_request(control, PROTO_STATS, NULL, 0, LIMIT_MS, &reply, err);

	if (ret < 0)
		return ret;
	if (proto_decode_stats(&reply, &full) < 0)
		return error_say(err, EPROTO, "the guest's statistics are malformed");
	*bytes = full.stats.guest_total;
	return 0;
}

/* What it was to have from the beginning, or what it may grow to; in bytes. */
static uint64_t promised(const struct state *state, const char *what)
{
	const json_t *vm = json_object_get(state->doc, "vm");

	return (uint64_t)json_integer_value(json_object_get(vm, what)) << 20;
}

/* The VMM may use so much on the host, all in all; state.json remembers. */
static int account(struct state *state, uint64_t size, struct error *err)
{
	cleanup_cgroup struct cgroup cgroup = {0};
	uint64_t before;
	int ret = state_lock(state, err);

	if (ret < 0)
		return ret;
	before = (uint64_t)json_integer_value(json_object_get(state->doc, "memorySize"));
	if (!before)
		before = promised(state, "memory");
	ret = cgroup_load(&cgroup, json_object_get(state->doc, "cgroup"), err);
	if (ret == 0)
		ret = cgroup_change_memory(
			&cgroup, vm_size_host_more(size) - vm_size_host_more(before), err);
	if (ret == 0) {
		json_object_set_new(state->doc, "memorySize", json_integer((json_int_t)size));
		ret = state_save(state, err);
	}
	state_unlock(state);
	return ret;
}

/* A template has room for more than this VM is to grow to. */
static int read_status(const struct state *state, struct control *control,
		       struct proto_status *status, struct error *err)
{
	uint64_t most = promised(state, "memoryMax"), memory = promised(state, "memory");
	int ret = control_status(control, status, LIMIT_MS, err);

	if (most < memory)
		most = memory;
	if (ret == 0 && most <= status->memory_boot)
		status->memory_room = 0;
	else if (ret == 0 && status->memory_room > most - status->memory_boot)
		status->memory_room = most - status->memory_boot;
	return ret;
}

/* What it should have beyond what it booted with, as far as there is room. */
static uint64_t wanted(const struct proto_status *status, uint64_t limit)
{
	uint64_t size = (uint64_t)vm_size_of_limit(limit) << 20, more;

	if (size <= status->memory_boot)
		return 0;
	more = (size - status->memory_boot + STEP - 1) / STEP * STEP;
	return more < status->memory_room ? more : status->memory_room;
}

static int wait_until_plugged(struct control *control, uint64_t more, uint64_t limit,
			      struct error *err)
{
	uint64_t end = in_ms(PLUG_MS);
	struct proto_status status;
	uint64_t total;
	int ret;

	while ((ret = control_status(control, &status, LIMIT_MS, err)) == 0 &&
	       (ret = guest_total(control, &total, err)) == 0) {
		if (status.memory_plugged >= more && total >= limit)
			return 0;
		if (monotonic_ns() > end)
			return error_say(err, ETIMEDOUT,
					 "memory.limit: the guest has taken only %llu of %llu MiB "
					 "of memory within %d s",
					 (unsigned long long)status.memory_plugged >> 20,
					 (unsigned long long)more >> 20, PLUG_MS / 1000);
		rest();
	}
	return ret;
}

/* Asks for less. The host's limit stays above what the guest has kept. */
static int take_back(struct state *state, struct control *control, uint64_t more, struct error *err)
{
	uint64_t end = in_ms(UNPLUG_MS);
	struct proto_status status = {0};
	int ret = request(control, more, err);

	while (ret == 0 && (ret = control_status(control, &status, LIMIT_MS, err)) == 0 &&
	       status.memory_plugged > more && monotonic_ns() < end)
		rest();
	return ret < 0 ? ret
		       : account(state,
				 status.memory_boot + (status.memory_plugged > more
							       ? status.memory_plugged
							       : more),
				 err);
}

static int plug(struct state *state, struct control *control, const struct proto_status *before,
		uint64_t limit, struct error *err)
{
	uint64_t more = wanted(before, limit);
	struct error ignored = {0};
	int ret;

	/* Before the guest can use it. */
	ret = account(state,
		      before->memory_boot +
			      (more > before->memory_plugged ? more : before->memory_plugged),
		      err);
	if (ret == 0)
		ret = request(control, more, err);
	if (ret == 0)
		ret = wait_until_plugged(control, more, limit, err);
	if (ret < 0)
		take_back(state, control, before->memory_requested, &ignored);
	return ret;
}

int vm_grow(struct state *state, struct control *control, uint64_t limit, struct error *err)
{
	struct proto_status status;
	uint64_t total = 0, most;
	int ret = read_status(state, control, &status, err);

	if (ret == 0)
		ret = guest_total(control, &total, err);
	if (ret < 0)
		return ret;
	/* Of what is still to come the kernel keeps nothing for itself that MemTotal lacked. */
	most = total + status.memory_room - status.memory_plugged;
	if (limit > most)
		return error_say(err, ERANGE,
				 "memory.limit: %llu bytes, but the VM has %llu, and can grow to "
				 "%llu: its creation says how far, by io.bulkhead.memory and "
				 "io.bulkhead.memory-max",
				 (unsigned long long)limit, (unsigned long long)total,
				 (unsigned long long)most);
	if (wanted(&status, limit) <= status.memory_requested && limit <= total)
		return 0;
	return plug(state, control, &status, limit, err);
}

int vm_shrink(struct state *state, struct control *control, uint64_t limit, struct error *err)
{
	struct proto_status status;
	int ret = read_status(state, control, &status, err);
	uint64_t more;

	if (ret < 0)
		return ret;
	more = wanted(&status, limit);
	/* Asked for before, the guest may have given it since, or does now. */
	return status.memory_room && more <= status.memory_requested
		       ? take_back(state, control, more, err)
		       : 0;
}
