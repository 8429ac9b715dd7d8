/*
 * update: other limits for a running container. The workload's are the guest's cgroup's; CPU time
 * and I/O are limited on the host too, where the VMM is. The VM's memory follows its limit.
 */
#include "runtime/cgroup.h"
#include "runtime/command.h"
#include "runtime/control_client.h"
#include "runtime/file.h"
#include "runtime/options.h"
#include "runtime/pin.h"
#include "runtime/rates.h"
#include "runtime/spec_check.h"
#include "runtime/state.h"
#include "runtime/vm_grow.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "protocol/stats.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT	      10000 /* ms */
#define RESOURCES_MAX (1u << 20)

enum {
	OPT_BLKIO = 256,
	OPT_PERIOD,
	OPT_QUOTA,
	OPT_SHARE,
	OPT_IDLE,
	OPT_RT_PERIOD,
	OPT_RT_RUNTIME,
	OPT_CPUS,
	OPT_MEMS,
	OPT_MEMORY,
	OPT_RESERVATION,
	OPT_SWAP,
	OPT_KERNEL,
	OPT_KERNEL_TCP,
	OPT_PIDS,
	OPT_CACHE,
	OPT_BANDWIDTH,
};

static const struct option_spec options[] = {
	{'r', "resources", "FILE", "Read linux.resources from FILE, - for stdin"},
	{OPT_BLKIO, "blkio-weight", "N", "I/O weight, 10 to 1000"},
	{OPT_PERIOD, "cpu-period", "US", "Period of the CPU quota"},
	{OPT_QUOTA, "cpu-quota", "US", "CPU time in each period, -1: all there is"},
	{OPT_SHARE, "cpu-share", "N", "CPU shares, relative to others"},
	{OPT_IDLE, "cpu-idle", "0|1", "Run only when the CPU is idle"},
	{OPT_CPUS, "cpuset-cpus", "LIST", "CPUs of the host for the VM"},
	{OPT_MEMS, "cpuset-mems", "LIST", "Memory nodes of the host for the VM"},
	{OPT_MEMORY, "memory", "BYTES", "Memory limit; k, m, g may follow the number"},
	{OPT_RESERVATION, "memory-reservation", "BYTES", "Memory that is protected"},
	{OPT_SWAP, "memory-swap", "BYTES", "Memory and swap together, -1: unlimited"},
	{OPT_KERNEL, "kernel-memory", "BYTES", "Accepted for runc's sake"},
	{OPT_KERNEL_TCP, "kernel-memory-tcp", "BYTES", "Accepted for runc's sake"},
	{OPT_PIDS, "pids-limit", "N", "Processes at most, -1: no limit"},
	{OPT_RT_PERIOD, "cpu-rt-period", "US", "Not supported"},
	{OPT_RT_RUNTIME, "cpu-rt-runtime", "US", "Not supported"},
	{OPT_CACHE, "l3-cache-schema", "TEXT", "Not supported"},
	{OPT_BANDWIDTH, "mem-bw-schema", "TEXT", "Not supported"},
	{0},
};

/* Where an option's value goes in linux.resources. */
static const struct {
	int key;
	const char *group, *field;
	enum { NUMBER, BYTES, TEXT } kind;
} fields[] = {
	{OPT_BLKIO, "blockIO", "weight", NUMBER},
	{OPT_PERIOD, "cpu", "period", NUMBER},
	{OPT_QUOTA, "cpu", "quota", NUMBER},
	{OPT_SHARE, "cpu", "shares", NUMBER},
	{OPT_IDLE, "cpu", "idle", NUMBER},
	{OPT_CPUS, "cpu", "cpus", TEXT},
	{OPT_MEMS, "cpu", "mems", TEXT},
	{OPT_MEMORY, "memory", "limit", BYTES},
	{OPT_RESERVATION, "memory", "reservation", BYTES},
	{OPT_SWAP, "memory", "swap", BYTES},
	{OPT_PIDS, "pids", "limit", NUMBER},
};

struct arguments {
	const char *id, *file;
	json_t *resources;
};

static const char *option_name(int key)
{
	const struct option_spec *spec = options;

	while (spec->key != key)
		spec++;
	return spec->name;
}

/* With bytes a unit may follow: k, m, g, t, each 1024 of the one before, as docker has them. */
static int parse_number(int key, const char *text, bool bytes, json_int_t *out, struct error *err)
{
	static const char units[] = "bkmgt";
	const char *unit = NULL;
	char *end;
	int shift = 0;

	errno = 0;
	*out = strtoll(text, &end, 10);
	if (errno || end == text)
		return error_say(err, EINVAL, "--%s: \"%s\" is not a number", option_name(key),
				 text);
	if (bytes && *end) {
		unit = strchr(units, *end | 0x20);
		shift = unit ? 10 * (int)(unit - units) : 0;
		end += unit && *unit ? 1 : 0;
		end += unit && (*end | 0x20) == 'b' ? 1 : 0;
	}
	if (*end || *out < -1 || *out > INT64_MAX >> shift)
		return error_say(err, EINVAL, "--%s: \"%s\" is not a number%s", option_name(key),
				 text, bytes ? " of bytes" : "");
	if (*out > 0)
		*out *= (json_int_t)1 << shift;
	return 0;
}

static int take_field(struct arguments *a, size_t i, const char *value, struct error *err)
{
	json_t *group = json_object_get(a->resources, fields[i].group);
	json_int_t number;

	if (!group) {
		group = json_object();
		json_object_set_new(a->resources, fields[i].group, group);
	}
	if (fields[i].kind == TEXT)
		return json_object_set_new(group, fields[i].field, json_string(value)) < 0
			       ? error_say(err, EINVAL, "--%s: is not UTF-8",
					   option_name(fields[i].key))
			       : 0;
	if (parse_number(fields[i].key, value, fields[i].kind == BYTES, &number, err) < 0)
		return -EINVAL;
	json_object_set_new(group, fields[i].field, json_integer(number));
	return 0;
}

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;

	switch (key) {
	case 'r':
		a->file = value;
		return 0;
	case OPT_KERNEL:
	case OPT_KERNEL_TCP:
		return 0;
	case OPT_RT_PERIOD:
	case OPT_RT_RUNTIME:
	case OPT_CACHE:
	case OPT_BANDWIDTH:
		return error_say(err, ENOTSUP, "--%s is not supported", option_name(key));
	default:
		break;
	}
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i].key == key)
			return take_field(a, i, value, err);
	return options_take_id(&a->id, key, value, err);
}

static const struct command_line command_line = {
	.arguments = "ID",
	.about = "Changes the limits of a container.",
	.options = options,
	.missing = "the container's id",
};

static int read_resources(struct arguments *a, struct error *err)
{
	const char *path = strcmp(a->file, "-") ? a->file : "/dev/stdin";
	cleanup_free char *text = NULL;
	ssize_t len = file_read(AT_FDCWD, path, RESOURCES_MAX, &text, err);
	json_error_t why;

	if (len < 0)
		return (int)len;
	json_decref(a->resources);
	a->resources = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(a->resources))
		return error_say(err, EINVAL, "%s: %s", path,
				 a->resources ? "must be an object" : why.text);
	return 0;
}

static json_int_t field(const json_t *resources, const char *group, const char *name)
{
	return json_integer_value(json_object_get(json_object_get(resources, group), name));
}

/* CPUs that the VM has not got cannot be given. */
static int check_cpus(struct control *control, const json_t *resources, struct error *err)
{
	json_int_t quota = field(resources, "cpu", "quota");
	json_int_t period = field(resources, "cpu", "period");
	static struct proto_stats_full full;
	struct proto_frame reply;
	int ret;

	if (quota <= 0)
		return 0;
	ret = control_request(control, PROTO_STATS, NULL, 0, LIMIT, &reply, err);
	if (ret < 0)
		return ret;
	if (proto_decode_stats(&reply, &full) < 0)
		return error_say(err, EPROTO, "the guest's statistics are malformed");
	if ((uint64_t)quota / (uint64_t)(period > 0 ? period : 100000) >=
	    full.stats.cpus + (quota % (period > 0 ? period : 100000) == 0))
		log_warn("cpu.quota: the VM has only %llu CPUs: more can be given with "
			 "io.bulkhead.vcpus at its creation",
			 (unsigned long long)full.stats.cpus);
	return 0;
}

static int update_guest(struct control *control, const json_t *resources, struct error *err)
{
	json_t *document = json_pack("{s:O}", "resources", resources);
	cleanup_free char *body = document ? json_dumps(document, JSON_COMPACT) : NULL;

	json_decref(document);
	if (!body)
		return error_set(err, ENOMEM, "make the request");
	return control_request(control, PROTO_UPDATE, body, strlen(body), LIMIT, NULL, err);
}

static int update_host(const struct state *state, const json_t *resources, struct error *err)
{
	cleanup_cgroup struct cgroup cgroup = {0};
	int ret = cgroup_load(&cgroup, json_object_get(state->doc, "cgroup"), err);

	if (ret == 0)
		ret = cgroup_set_cpu(&cgroup, resources, err);
	if (ret == 0)
		ret = cgroup_set_io(&cgroup, resources, err);
	return ret == 0 ? cgroup_set_unified(&cgroup, resources, err) : ret;
}

/* CPUs that are not the pinned ones are what was asked for last. */
static void pin_again(const struct state *state)
{
	struct error err = {0};

	if (pin_apply(state->pid, json_string_value(json_object_get(state->doc, "pin")), &err) < 0)
		log_warn("%s", err.message);
}

/* The VM's disks. One update after the other: each is based on what is in the state. */
static int update_rates(struct state *state, struct control *control, const json_t *resources,
			struct error *err)
{
	json_t *rates;
	int ret = state_lock(state, err);

	if (ret < 0)
		return ret;
	rates = json_object_get(state->doc, "rates");
	if (rates_throttle(rates, resources))
		ret = rates_send(rates, control, err);
	if (ret == 0)
		ret = state_save(state, err);
	state_unlock(state);
	return ret;
}

static int update(struct state *state, const json_t *resources, struct error *err)
{
	struct control control = CONTROL_INIT;
	json_int_t limit = field(resources, "memory", "limit");
	int ret = control_connect(&control, state->dir_fd, err);

	if (ret == 0)
		ret = check_cpus(&control, resources, err);
	/* There has to be as much memory as the workload may use, whichever way it goes. */
	if (ret == 0 && limit > 0)
		ret = vm_grow(state, &control, (uint64_t)limit, err);
	if (ret == 0)
		ret = update_guest(&control, resources, err);
	if (ret == 0 && limit > 0)
		ret = vm_shrink(state, &control, (uint64_t)limit, err);
	if (ret == 0)
		ret = update_host(state, resources, err);
	if (ret == 0 && json_object_get(resources, "blockIO"))
		ret = update_rates(state, &control, resources, err);
	control_close(&control);
	if (ret == 0)
		pin_again(state);
	return ret;
}

int cmd_update(struct globals *globals, int argc, char **argv, struct error *err)
{
	cleanup_state struct state state = STATE_INIT;
	struct arguments a = {.resources = json_object()};
	int ret = options_parse(&command_line, argc, argv, take, &a, err);

	if (ret >= 0)
		ret = a.file ? read_resources(&a, err) : 0;
	if (ret == 0)
		ret = spec_check_resources(a.resources, err);
	if (ret == 0)
		ret = state_open(&state, globals->root, a.id, err);
	if (ret == 0 && !strcmp(state_status(&state), "stopped"))
		ret = error_say(err, ESRCH, "container not running");
	if (ret == 0)
		ret = update(&state, a.resources, err);
	json_decref(a.resources);
	return ret;
}
