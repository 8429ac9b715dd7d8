/*
 * The VMM's side of the control protocol between two liars: an agent in the guest and a client on
 * the host. Each step of the input is a frame of one of them, mostly well-formed, or odd bytes.
 * Some go on from a snapshot, whose records are the input's too.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"
#include "vmm/agent.h"
#include "vmm/control.h"
#include "vmm/state_tags.h"

enum { AGENT, CLIENT, ENDS };

struct world {
	struct loop loop;
	struct control *control;
	int fds[ENDS]; /* the liars' ends */
	int null_fd;   /* what a client hands over */
	bool finished;
	unsigned int holds; /* asked for so far; every other one comes true */
	bool wants_hold;
};

static void nothing(void *ctx)
{
	(void)ctx;
}

static void ended(void *ctx, uint32_t status)
{
	(void)ctx;
	driver_check(status <= 0xffff);
}

static void failed(void *ctx, bool told, const char *why)
{
	(void)ctx;
	(void)told;
	driver_check(why[0] != '\0');
}

static void lost(void *ctx, const char *why)
{
	failed(ctx, false, why);
}

static int attach(void *ctx, const struct proto_attach *what, const void *parameters, size_t len,
		  const struct proto_frame *frame, struct error *err)
{
	(void)ctx;
	(void)what;
	(void)frame;
	/* All of it has to be there. */
	for (size_t i = 0; i < len; i++)
		if (((const uint8_t *)parameters)[i] == 0xff)
			return error_say(err, EINVAL, "a byte that it does not like");
	return 0;
}

static int counters(void *ctx, struct proto_counters *out)
{
	(void)ctx;
	out->vcpu_count = out->queue_count = 1;
	return 0;
}

static void marks(void *ctx, struct proto_status *status)
{
	(void)ctx;
	status->vmm_started_ns = 1;
}

static void hold(void *ctx)
{
	struct world *world = ctx;

	driver_check(!world->wants_hold);
	world->wants_hold = true;
}

static int save_to(void *ctx, const struct vmm_template *to, struct error *err)
{
	(void)ctx;
	(void)err;
	driver_check(to->state_fd >= 0 && to->memory_fd >= 0);
	return 0;
}

static void release(void *ctx)
{
	((struct world *)ctx)->wants_hold = false;
}

static const struct control_events events = {
	.agent_ready = nothing,
	.workload_ended = ended,
	.failed = failed,
	.agent_lost = lost,
	.shutdown = nothing,
	.attach = attach,
	.counters = counters,
	.hold = hold,
	.save = save_to,
	.release = release,
	.marks = marks,
};

static void settle(struct world *world)
{
	char bytes[4096];

	for (int i = 0; i < 4; i++)
		driver_check(loop_step(&world->loop, 0) == 0);
	if (world->wants_hold) {
		world->wants_hold = false;
		control_held(world->control, world->holds++ % 2 ? -EBUSY : 0, "it is busy");
	}
	/* What is said to the liars is not what they are after. */
	for (int i = 0; i < ENDS; i++)
		while (world->fds[i] >= 0 &&
		       recv(world->fds[i], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
			;
}

static void say(struct world *world, int end, const void *bytes, size_t len)
{
	if (world->fds[end] < 0)
		return;
	/* A closed or full connection is the liar's own loss. */
	if (send(world->fds[end], bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
	settle(world);
}

static enum proto_type choose_type(int end, uint8_t choice)
{
	static const uint8_t agent_types[] = {PROTO_OK, PROTO_ERROR, PROTO_EXITED, PROTO_HELLO,
					      PROTO_OOM};

	if (choice & 0x80)
		return (enum proto_type)choice;
	if (end == AGENT)
		return (enum proto_type)agent_types[choice % sizeof(agent_types)];
	if (choice >= 0x7d)
		return (enum proto_type)(PROTO_COUNTERS + choice - 0x7d);
	return (enum proto_type)(PROTO_CREATE + choice % (PROTO_REQUEST_LAST - PROTO_CREATE + 1));
}

static void say_frame(struct world *world, int end, struct input *input)
{
	enum proto_type type = choose_type(end, input_u8(input));
	uint8_t numbers = input_u8(input), body[300];
	uint32_t id = numbers % 8;
	unsigned int fd_count = numbers >> 4 & 3;
	uint8_t *frame = NULL;
	size_t len = input_u8(input);
	ssize_t frame_len;

	len = input_take(input, body, len);
	if (end == CLIENT && fd_count && world->fds[end] >= 0) {
		const int fds[3] = {world->null_fd, world->null_fd, world->null_fd};

		proto_send_fds(world->fds[end], type, id, body, len, fds, fd_count);
		settle(world);
		return;
	}
	frame_len = proto_frame_make(&frame, type, id, body, len);
	if (frame_len > 0)
		say(world, end, frame, (size_t)frame_len);
	free(frame);
}

/* What the guest does with the ports of streams. */
static void use_stream(struct world *world, uint8_t how, uint32_t port)
{
	struct vsock_endpoint endpoint = {.in_fd = -1, .out_fd = -1};

	switch (how) {
	case 0:
		if (control_stdio_connect(world->control, port, &endpoint) < 0)
			return;
		/* A terminal is one descriptor for both. */
		if (endpoint.out_fd != endpoint.in_fd)
			close_fd(&endpoint.out_fd);
		close_fd(&endpoint.in_fd);
		break;
	case 1:
		control_stdio_closed(world->control, port);
		break;
	default:
		control_stdio_buffered(world->control, port, how & 1);
		break;
	}
	settle(world);
}

static void hello(struct world *world)
{
	struct proto_hello hello = {.version = PROTO_VERSION};
	uint8_t *frame = NULL;
	ssize_t len = proto_frame_make(&frame, PROTO_HELLO, 0, &hello, sizeof(hello));

	driver_check(len > 0);
	say(world, AGENT, frame, (size_t)len);
	free(frame);
}

static void step(struct world *world, struct input *input)
{
	const uint32_t status = 9;
	uint8_t bytes[64], choice = input_u8(input);
	int end = choice & 1;
	size_t len;

	switch (choice >> 1 & 7) {
	case 0:
		len = input_take(input, bytes, input_u8(input) % sizeof(bytes));
		say(world, end, bytes, len);
		break;
	case 1:
		control_signal(world->control, 1 + input_u8(input) % 64);
		break;
	case 2:
		if (choice & 0x10)
			close(world->fds[end]), world->fds[end] = -1;
		settle(world);
		break;
	case 3:
		if (!world->finished && choice & 0x20)
			control_finish(world->control, choice & 0x40 ? &status : NULL, EIO, "over");
		world->finished |= choice & 0x20;
		break;
	case 4:
		/* Of process 0 and the first ones of exec. */
		use_stream(world, choice >> 4 & 3, PROTO_PORT_STDIO + input_u8(input) % 16);
		break;
	default:
		say_frame(world, end, input);
		break;
	}
}

/* Returns whether it goes on from there. */
static bool load(struct world *world, struct input *input)
{
	/* One more than there may be. */
	static uint8_t requests[(AGENT_REQUESTS_MAX + 1) * 8];
	uint8_t choice = input_u8(input), control[32];
	struct records in = {0};
	struct error err = {0};
	size_t len = input_take(input, control, choice & 1 ? 16 : choice % sizeof(control));
	int ret;

	records_put(&in, STATE_CONTROL, 0, control, len);
	len = input_take(input, requests, input_u8(input));
	if (choice & 0x80) {
		for (size_t i = 64; i < sizeof(requests); i++)
			requests[i] = requests[i - 64];
		len = sizeof(requests) - (choice & 0x40 ? 0 : 8);
	}
	records_put(&in, STATE_REQUESTS, 0, requests, len);
	ret = control_load(world->control, &in, &err);
	driver_check(ret <= 0 && (ret < 0) == (err.message[0] != '\0'));
	if (ret == 0)
		driver_check(control_state(world->control) == PROTO_STATE_RUNNING);
	records_destroy(&in);
	return ret == 0;
}

static void connect_agent(struct world *world)
{
	struct vsock_endpoint endpoint = {.in_fd = -1, .out_fd = -1};

	driver_check(control_agent_connect(world->control, &endpoint) == 0);
	world->fds[AGENT] = endpoint.in_fd;
}

/* Most inputs get past the first word. Returns whether there is something to go on with. */
static bool begin(struct world *world, uint8_t how, struct input *input)
{
	if (how % 8 == 7 && !load(world, input))
		return false;
	connect_agent(world);
	if (how % 8 == 7)
		driver_check(control_resume(world->control, 0) == 0);
	else if (how % 8)
		hello(world);
	return true;
}

/* What it would save now, it can load. */
static void save(struct world *world)
{
	struct records out = {0};

	if (control_save(world->control, &out, NULL) == 0)
		driver_check(control_load(world->control, &out, NULL) == 0);
	records_destroy(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct world world = {.fds = {-1, -1}, .null_fd = open("/dev/null", O_RDWR | O_CLOEXEC)};
	struct stdio stdio = STDIO_INIT;
	struct control_config config = {
		.loop = &world.loop, .listen_fd = -1, .stdio = &stdio, .events = &events};
	int pair[2];

	log_open(-1, false, LOG_LEVEL_ERROR);
	driver_check(loop_init(&world.loop) == 0);
	driver_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	config.parent_fd = pair[0];
	world.fds[CLIENT] = pair[1];
	config.ctx = &world;
	driver_check(control_create(&world.control, &config, NULL) == 0);
	if (begin(&world, input_u8(&input), &input))
		while (input.left)
			step(&world, &input);
	save(&world);
	control_destroy(world.control);
	for (int i = 0; i < ENDS; i++)
		if (world.fds[i] >= 0)
			close(world.fds[i]);
	close_fd(&world.null_fd);
	loop_destroy(&world.loop);
	return 0;
}
