/*
 * ps: the guest's processes as a table. As JSON it prints pids of the host, because that is what
 * engines do with them: they look for them in the host's own list.
 */
#include "runtime/command.h"
#include "runtime/control_client.h"
#include "runtime/options.h"
#include "runtime/ps_table.h"
#include "runtime/state.h"

#include "protocol/stats.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 10000 /* ms */

struct arguments {
	bool json;
};

static const struct option_spec options[] = {
	{'f', "format", "FORMAT", "table: the guest's processes; json: the pids on the host"},
	{0},
};

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;

	(void)key;
	a->json = !strcmp(value, "json");
	if (!a->json && strcmp(value, "table") != 0)
		return error_say(err, EINVAL, "--format: \"%s\" is not table or json", value);
	return 0;
}

static const struct command_line command_line = {
	.arguments = "ID [PS-OPTION]...",
	.about =
		"Lists the processes of a container; options as ps(1) has them: -ef, aux, -o LIST.",
	.options = options,
	.missing = "the container's id",
	.in_order = true,
};

/* Who stands for the container and for each process of exec. */
static int print_host_pids(struct control *control, pid_t vmm, struct error *err)
{
	struct proto_frame reply;
	int ret = control_request(control, PROTO_HOLDERS, NULL, 0, LIMIT, &reply, err);

	if (ret < 0)
		return ret;
	printf("[%d", vmm);
	for (size_t at = 0; at + sizeof(uint32_t) <= reply.body_len; at += sizeof(uint32_t)) {
		uint32_t pid;

		memcpy(&pid, reply.body + at, sizeof(pid));
		printf(",%u", le32toh(pid));
	}
	puts("]");
	return fflush(stdout) == EOF ? error_set(err, errno, "write the list") : 0;
}

static int guest_memory(struct control *control, uint64_t *bytes, struct error *err)
{
	static struct proto_stats_full stats;
	struct proto_frame reply;
	int ret = control_request(control, PROTO_STATS, NULL, 0, LIMIT, &reply, err);

	if (ret == 0 && proto_decode_stats(&reply, &stats) < 0)
		ret = error_say(err, EPROTO, "the guest's statistics are malformed");
	*bytes = ret == 0 ? stats.stats.guest_total : 0;
	return ret;
}

static int print_table(struct control *control, const struct ps_format *format, struct error *err)
{
	struct proto_frame reply;
	uint64_t memory = 0;
	int ret = format->needs_memory ? guest_memory(control, &memory, err) : 0;

	if (ret == 0)
		ret = control_request(control, PROTO_PS, NULL, 0, LIMIT, &reply, err);
	return ret < 0 ? ret : ps_table_print(format, &reply, memory, err);
}

/* As runc: a container that has ended has no processes, and that is no error. */
static int print_none(bool json, const struct ps_format *format, struct error *err)
{
	if (!json)
		return ps_table_print(format, NULL, 0, err);
	puts("[]");
	return fflush(stdout) == EOF ? error_set(err, errno, "write the list") : 0;
}

int cmd_ps(struct globals *globals, int argc, char **argv, struct error *err)
{
	cleanup_state struct state state = STATE_INIT;
	struct control control = CONTROL_INIT;
	struct arguments a = {0};
	struct ps_format format;
	int ret, at = options_parse(&command_line, argc, argv, take, &a, err);

	if (at < 0)
		return at;
	ret = ps_format_parse(&format, argv + at + 1, err);
	if (ret == 0)
		ret = state_open(&state, globals->root, argv[at], err);
	if (ret == 0 && !strcmp(state_status(&state), "stopped"))
		return print_none(a.json, &format, err);
	if (ret == 0)
		ret = control_connect(&control, state.dir_fd, err);
	if (ret == 0)
		ret = a.json ? print_host_pids(&control, state.pid, err)
			     : print_table(&control, &format, err);
	control_close(&control);
	return ret;
}
