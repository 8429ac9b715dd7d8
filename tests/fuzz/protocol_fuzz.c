/*
 * Frames from either side, in odd pieces. The first byte chooses what the sender is: the agent (its
 * frames end in the VMM), or the runtime and the VMM. The second one chooses how the stream is cut.
 */
#include <errno.h>
#include <stdlib.h>

#include "protocol/protocol.h"
#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"

static void decode_error(const struct proto_frame *frame, size_t room)
{
	char *text = malloc(room);
	int code;

	driver_check(text != NULL);
	if (proto_decode_error(frame, &code, text, room) == 0) {
		driver_check(code > 0 && code <= 4095);
		driver_check(strnlen(text, room) < room);
		for (const char *at = text; *at; at++)
			driver_check((uint8_t)*at >= 0x20 || *at == '\n' || *at == '\t');
	}
	free(text);
}

static void from_agent(const struct proto_frame *frame)
{
	struct proto_hello hello;
	struct proto_process process;
	struct proto_exited exited;
	struct proto_oom oom;

	driver_check(proto_decode_oom(frame, &oom) ==
		     (frame->body_len == sizeof(oom) ? 0 : -EPROTO));
	if (proto_decode_hello(frame, &hello) == 0)
		driver_check(hello.reserved == 0);
	if (proto_decode_process(frame, &process) == 0)
		driver_check(process.process < PROTO_PROCESS_MAX);
	if (proto_decode_exited(frame, &exited) == 0)
		driver_check(exited.process < PROTO_PROCESS_MAX && exited.status <= 0xffff);
	decode_error(frame, 64);
	decode_error(frame, PROTO_TEXT_MAX + 1);
	decode_error(frame, 1);
}

static void from_host(const struct proto_frame *frame)
{
	struct proto_signal signal;
	struct proto_resize resize;
	struct proto_status status;
	struct proto_freeze freeze;
	struct proto_exec exec;
	const char *json;
	size_t json_len;

	if (proto_decode_freeze(frame, &freeze) == 0)
		driver_check(freeze.frozen <= 1);
	if (proto_decode_exec(frame, &exec, &json, &json_len) == 0) {
		driver_check(exec.process < PROTO_PROCESS_MAX);
		driver_check((const uint8_t *)json + json_len == frame->body + frame->body_len);
	}
	if (proto_decode_signal(frame, &signal) == 0)
		driver_check(signal.signal >= 1 && signal.signal <= 64);
	if (proto_decode_resize(frame, &resize) == 0)
		driver_check(resize.process < PROTO_PROCESS_MAX);
	if (proto_decode_status(frame, &status) == 0)
		driver_check(status.state >= PROTO_STATE_CREATING &&
			     status.state <= PROTO_STATE_PAUSED);
}

/* Made again from its parts, a frame is what it was: nothing in it is lost or ignored. */
static void check_same(const struct proto_frame *frame)
{
	struct proto_reader reader = {0};
	struct proto_frame again;
	uint8_t *bytes;
	ssize_t len = proto_frame_make(&bytes, frame->type, frame->id, frame->body,
				       frame->body_len);

	driver_check(len >= 0);
	driver_check(proto_reader_feed(&reader, bytes, (size_t)len) == 0);
	driver_check(proto_reader_next(&reader, &again) == 1);
	driver_check(again.type == frame->type && again.id == frame->id);
	driver_check(again.body_len == frame->body_len);
	driver_check(memcmp(again.body, frame->body, frame->body_len) == 0);
	driver_check(proto_reader_next(&reader, &again) == 0);
	proto_reader_destroy(&reader);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	bool agent = input_u8(&input) & 1;
	uint8_t cut = input_u8(&input);
	struct proto_reader reader = {0};
	struct proto_frame frame;
	int ret = 0;

	while (input.left && ret >= 0) {
		size_t piece = cut % 61 + 1u;

		cut = (uint8_t)(cut * 5 + 3);
		if (piece > input.left)
			piece = input.left;
		driver_check(proto_reader_feed(&reader, input.at, piece) == 0);
		input.at += piece;
		input.left -= piece;
		while ((ret = proto_reader_next(&reader, &frame)) == 1) {
			driver_check(frame.body_len <= PROTO_BODY_MAX);
			if (agent)
				from_agent(&frame);
			else
				from_host(&frame);
			check_same(&frame);
		}
	}
	proto_reader_destroy(&reader);
	return 0;
}
