/* events: what happens to a container, a JSON object a line, in runc's format. */
#include "runtime/command.h"
#include "runtime/control_client.h"
#include "runtime/options.h"
#include "runtime/state.h"
#include "runtime/stats_json.h"

#include "common/clock.h"

#include <endian.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT	     10000 /* ms */
#define INTERVAL     5000
#define INTERVAL_MAX 86400000

enum { OPT_STATS = 256, OPT_INTERVAL };

struct arguments {
	const char *id;
	bool stats;
	int interval_ms;
};

static const struct option_spec options[] = {
	{OPT_STATS, "stats", NULL, "Print the statistics once, and end"},
	{OPT_INTERVAL, "interval", "TIME", "Between statistics: 5s (the default), 500ms, 1m"},
	{0},
};

static int parse_interval(const char *text, int *ms, struct error *err)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	char *end;
	double value = strtod(text, &end);

	for (size_t i = 0; end != text && i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		value *= units[i].ms;
		if (!(value >= 1 && value <= INTERVAL_MAX))
			break;
		*ms = (int)value;
		return 0;
	}
	return error_say(err, EINVAL, "--interval %s: must be a time such as 5s, at most a day",
			 text);
}

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;

	switch (key) {
	case OPT_STATS:
		a->stats = true;
		return 0;
	case OPT_INTERVAL:
		return parse_interval(value, &a->interval_ms, err);
	default:
		return options_take_id(&a->id, key, value, err);
	}
}

static const struct command_line command_line = {
	.arguments = "ID",
	.about = "Prints statistics and events of a container until it ends.",
	.options = options,
	.missing = "the container's id",
};

static int print(json_t *event, struct error *err)
{
	int ret = event ? json_dumpf(event, stdout, JSON_COMPACT) : -1;

	json_decref(event);
	if (ret < 0 || putchar('\n') == EOF || fflush(stdout) == EOF)
		return error_set(err, errno ? errno : EIO, "write the event");
	return 0;
}

static int print_stats(struct control *control, const char *id, struct error *err)
{
	static struct proto_stats_full stats;
	struct proto_frame reply;
	int ret = control_request(control, PROTO_STATS, NULL, 0, LIMIT, &reply, err);

	if (ret < 0)
		return ret;
	if (proto_decode_stats(&reply, &stats) < 0)
		return error_say(err, EPROTO, "the guest's statistics are malformed");
	return print(stats_to_json(id, &stats), err);
}

/* Returns 1 once the container has ended. */
static int read_events(struct control *control, const char *id, struct error *err)
{
	struct proto_frame frame;
	int ret = proto_reader_fill(&control->reader, control->fd);

	if (ret == 0 || ret == -ECONNRESET)
		return 1;
	while (ret > 0 && (ret = proto_reader_next(&control->reader, &frame)) > 0)
		if (frame.type == PROTO_OOM &&
		    print(json_pack("{s:s, s:s}", "type", "oom", "id", id), err) < 0)
			return -EIO;
	return ret < 0 ? error_set(err, -ret, "read the VMM's events") : 0;
}

static uint64_t now_ms(void)
{
	return monotonic_ns() / 1000000u;
}

/* Events come on a connection of their own: none can get between a request and its answer. */
static int follow(struct control *events, struct control *control, const struct arguments *a,
		  struct error *err)
{
	struct pollfd pfd = {.fd = events->fd, .events = POLLIN};
	uint64_t next = now_ms();
	int ret = control_request(events, PROTO_EVENTS, NULL, 0, LIMIT, NULL, err);

	while (ret == 0) {
		uint64_t now = now_ms();
		struct error ignored = {0};

		if (now >= next) {
			/* A container that has just ended has none. */
			if (print_stats(control, a->id, &ignored) < 0 && ignored.code == EIO)
				return error_say(err, EIO, "%s", ignored.message);
			next = now + (uint64_t)a->interval_ms;
		}
		if (poll(&pfd, 1, (int)(next - now)) > 0)
			ret = read_events(events, a->id, err);
	}
	return ret < 0 ? ret : 0;
}

int cmd_events(struct globals *globals, int argc, char **argv, struct error *err)
{
	cleanup_state struct state state = STATE_INIT;
	struct control control = CONTROL_INIT, events = CONTROL_INIT;
	struct arguments a = {.interval_ms = INTERVAL};
	int ret = options_parse(&command_line, argc, argv, take, &a, err);

	if (ret < 0)
		return ret;
	ret = state_open_running(&state, globals->root, a.id, err);
	if (ret == 0)
		ret = control_connect(&control, state.dir_fd, err);
	if (ret == 0 && a.stats)
		ret = print_stats(&control, a.id, err);
	else if (ret == 0 && (ret = control_connect(&events, state.dir_fd, err)) == 0)
		ret = follow(&events, &control, &a, err);
	control_close(&control);
	control_close(&events);
	return ret;
}
