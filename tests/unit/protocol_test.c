#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "protocol/protocol.h"
#include "tests/unit/suites.h"

static struct proto_reader reader;

static void setup(void)
{
	memset(&reader, 0, sizeof(reader));
}

static void teardown(void)
{
	proto_reader_destroy(&reader);
}

static void feed(const void *bytes, size_t len)
{
	ck_assert_int_eq(proto_reader_feed(&reader, bytes, len), 0);
}

START_TEST(a_frame_has_the_bytes_it_should)
{
	static const uint8_t expected[] = {'B', 'L', 'K', '1', 3, 0, 0,	  0,   33, 0,
					   0,	0,   4,	  3,   2, 1, 'a', 'b', 'c'};
	uint8_t *frame;

	ck_assert_int_eq(proto_frame_make(&frame, PROTO_ERROR, 0x01020304, "abc", 3),
			 sizeof(expected));
	ck_assert_mem_eq(frame, expected, sizeof(expected));
	free(frame);
	ck_assert_int_eq(proto_frame_make(&frame, PROTO_OK, 1, NULL, PROTO_BODY_MAX + 1),
			 -EMSGSIZE);
}
END_TEST

/* Two frames, in pieces of every size. */
START_TEST(frames_come_in_any_pieces)
{
	uint8_t stream[256], *frame;
	struct proto_frame out;
	size_t len = 0, taken = 0;
	ssize_t part;

	part = proto_frame_make(&frame, PROTO_CREATE, 7, "{\"id\": 1}", 9);
	memcpy(stream, frame, (size_t)part);
	len = (size_t)part;
	free(frame);
	part = proto_frame_make(&frame, PROTO_START, 8, NULL, 0);
	memcpy(stream + len, frame, (size_t)part);
	len += (size_t)part;
	free(frame);

	for (size_t at = 0; at < len; at += (size_t)_i) {
		size_t left = len - at;

		feed(stream + at, left < (size_t)_i ? left : (size_t)_i);
		while (proto_reader_next(&reader, &out) == 1) {
			if (taken++ == 0) {
				ck_assert_uint_eq(out.type, PROTO_CREATE);
				ck_assert_uint_eq(out.id, 7);
				ck_assert_uint_eq(out.body_len, 9);
				ck_assert_mem_eq(out.body, "{\"id\": 1}", 9);
			} else {
				ck_assert_uint_eq(out.type, PROTO_START);
				ck_assert_uint_eq(out.id, 8);
				ck_assert_uint_eq(out.body_len, 0);
			}
		}
	}
	ck_assert_uint_eq(taken, 2);
	ck_assert_int_eq(proto_reader_next(&reader, &out), 0);
}
END_TEST

static int next_with(size_t offset, uint8_t value)
{
	struct proto_frame out;
	uint8_t *frame;
	ssize_t len = proto_frame_make(&frame, PROTO_OK, 1, NULL, 0);

	frame[offset] = value;
	feed(frame, (size_t)len);
	free(frame);
	return proto_reader_next(&reader, &out);
}

START_TEST(bad_headers_are_refused)
{
	static const struct {
		size_t offset;
		uint8_t value;
		int result;
	} rows[] = {{0, 'b', -EPROTO}, {3, '2', -EPROTO}, {8, 0, -EPROTO},   {8, 15, -EPROTO},
		    {8, 34, -EPROTO},  {8, 47, -EPROTO},  {8, 50, -EPROTO},  {9, 1, -EPROTO},
		    {10, 1, -EPROTO},  {11, 1, -EPROTO},  {7, 1, -EMSGSIZE}, {6, 0x11, -EMSGSIZE},
		    {6, 0x10, 0},      {8, 16, 1},	  {8, 31, 1},	     {8, 49, 1}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_int_eq(next_with(rows[i].offset, rows[i].value), rows[i].result);
		proto_reader_destroy(&reader);
	}
}
END_TEST

START_TEST(frames_travel_over_a_socket)
{
	struct proto_frame out;
	char text[64];
	int fds[2], code;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(proto_send_error(fds[0], 5, ENOENT, "no such thing"), 0);
	close(fds[0]);
	ck_assert_int_eq(proto_reader_next(&reader, &out), 0);
	ck_assert_int_eq(proto_reader_fill(&reader, fds[1]), 1);
	ck_assert_int_eq(proto_reader_next(&reader, &out), 1);
	ck_assert_uint_eq(out.id, 5);
	ck_assert_int_eq(proto_decode_error(&out, &code, text, sizeof(text)), 0);
	ck_assert_int_eq(code, ENOENT);
	ck_assert_str_eq(text, "no such thing");
	ck_assert_int_eq(proto_reader_fill(&reader, fds[1]), 0);
	ck_assert_int_eq(proto_send(fds[1], PROTO_OK, 1, NULL, 0), -EPIPE);
	close(fds[1]);
}
END_TEST

START_TEST(a_frame_of_the_largest_size_passes_and_memory_stays_bounded)
{
	uint8_t *body = calloc(1, PROTO_BODY_MAX), *frame;
	struct proto_frame out;
	ssize_t len;
	int got = 0, fds[2];

	ck_assert_ptr_nonnull(body);
	body[PROTO_BODY_MAX - 1] = 'z';
	len = proto_frame_make(&frame, PROTO_EXEC, 2, body, PROTO_BODY_MAX);
	ck_assert_int_eq(len, (int)(sizeof(struct proto_header) + PROTO_BODY_MAX));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
			 0);
	for (int round = 0; round < 2; round++) {
		for (ssize_t at = 0; at < len || got <= round;) {
			ssize_t ret = at < len ? write(fds[0], frame + at, (size_t)(len - at)) : 0;

			at += ret > 0 ? ret : 0;
			ret = proto_reader_fill(&reader, fds[1]);
			ck_assert(ret == 1 || ret == -EAGAIN);
			got += proto_reader_next(&reader, &out);
		}
		ck_assert_uint_eq(out.body_len, PROTO_BODY_MAX);
		ck_assert_uint_eq(out.body[PROTO_BODY_MAX - 1], 'z');
	}
	ck_assert_uint_le(reader.size, (size_t)len + 4096);
	close(fds[0]);
	close(fds[1]);
	free(frame);
	free(body);
}
END_TEST

static struct proto_frame with_body(const void *body, size_t len)
{
	return (struct proto_frame){.type = PROTO_OK, .id = 1, .body = body, .body_len = len};
}

START_TEST(bodies_have_exactly_their_size)
{
	uint8_t bytes[128] = {0};
	struct proto_hello hello;
	struct proto_process process;
	struct proto_resize resize;
	struct proto_exited exited;
	size_t matches[4] = {0};

	for (size_t len = 0; len < sizeof(bytes); len++) {
		struct proto_frame frame = with_body(bytes, len);

		matches[0] += proto_decode_hello(&frame, &hello) == 0;
		matches[1] += proto_decode_process(&frame, &process) == 0;
		matches[2] += proto_decode_resize(&frame, &resize) == 0;
		matches[3] += proto_decode_exited(&frame, &exited) == 0;
	}
	for (size_t i = 0; i < 4; i++)
		ck_assert_uint_eq(matches[i], 1);
}
END_TEST

static int signal_decodes(uint32_t process, uint32_t signal, uint32_t flags)
{
	struct proto_signal body = {process, signal, flags}, out;
	struct proto_frame frame = with_body(&body, sizeof(body));

	return proto_decode_signal(&frame, &out);
}

static int exited_decodes(uint32_t process, uint32_t status)
{
	struct proto_exited body = {process, status}, out;
	struct proto_frame frame = with_body(&body, sizeof(body));

	return proto_decode_exited(&frame, &out);
}

START_TEST(fields_out_of_range_are_refused)
{
	struct proto_status status = {.state = PROTO_STATE_STOPPED, .started_ns = 5}, out;
	struct proto_frame frame = with_body(&status, sizeof(status));
	struct proto_hello hello = {.version = 1, .reserved = 1}, hello_out;
	struct proto_frame hello_frame = with_body(&hello, sizeof(hello));

	ck_assert_int_eq(signal_decodes(255, 1, 0), 0);
	ck_assert_int_eq(signal_decodes(0, 64, PROTO_SIGNAL_ALL), 0);
	ck_assert_int_eq(signal_decodes(256, 1, 0), -EPROTO);
	ck_assert_int_eq(signal_decodes(0, 0, 0), -EPROTO);
	ck_assert_int_eq(signal_decodes(0, 65, 0), -EPROTO);
	ck_assert_int_eq(signal_decodes(0, 1, 2), -EPROTO);
	ck_assert_int_eq(exited_decodes(0, 0xff00), 0);
	ck_assert_int_eq(exited_decodes(0, 9), 0);
	ck_assert_int_eq(exited_decodes(0, 9 | 0x80), 0); /* with a core dump */
	ck_assert_int_eq(exited_decodes(256, 0), -EPROTO);
	ck_assert_int_eq(exited_decodes(0, 0x137f), -EPROTO); /* stopped */
	ck_assert_int_eq(exited_decodes(0, 0xffff), -EPROTO); /* continued */
	ck_assert_int_eq(exited_decodes(0, 0x10000), -EPROTO);
	ck_assert_int_eq(exited_decodes(0, 65), -EPROTO);
	ck_assert_int_eq(proto_decode_status(&frame, &out), 0);
	ck_assert_uint_eq(out.started_ns, 5);
	status.state = 6;
	ck_assert_int_eq(proto_decode_status(&frame, &out), -EPROTO);
	status.state = 0;
	ck_assert_int_eq(proto_decode_status(&frame, &out), -EPROTO);
	ck_assert_int_eq(proto_decode_hello(&hello_frame, &hello_out), -EPROTO);
}
END_TEST

static const struct {
	const char *sent, *shown;
} texts[] = {
	{"plain\n\ttext", "plain\n\ttext"},
	{"\x1b[2Jgone\r\x7f", "?[2Jgone??"},
	{"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
	 "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"},
	{"\xc2\x9b"
	 "2J",
	 "??2J"}, /* CSI as U+009B */
	{"\x9b"
	 "2J",
	 "?2J"},
	{"\xc0\xaf\xe0\x80\xaf", "?????"}, /* overlong */
	{"\xed\xa0\x80", "???"},	   /* a surrogate */
	{"\xf4\x90\x80\x80\xff", "?????"},
	{"cut\xe2\x82", "cut??"},
};

START_TEST(text_of_errors_is_cleaned)
{
	uint8_t body[64] = {2, 0, 0, 0};
	struct proto_frame frame = with_body(body, 4 + strlen(texts[_i].sent));
	char text[64];
	int code;

	memcpy(body + 4, texts[_i].sent, strlen(texts[_i].sent));
	ck_assert_int_eq(proto_decode_error(&frame, &code, text, sizeof(text)), 0);
	ck_assert_int_eq(code, 2);
	ck_assert_str_eq(text, texts[_i].shown);
}
END_TEST

START_TEST(errors_are_bounded)
{
	static uint8_t body[4 + PROTO_TEXT_MAX + 1] = {0xff, 0x0f, 0, 0, 'a', 'b', 'c', 'd'};
	struct proto_frame frame = with_body(body, 8);
	char text[4];
	int code;

	ck_assert_int_eq(proto_decode_error(&frame, &code, text, sizeof(text)), 0);
	ck_assert_int_eq(code, 4095);
	ck_assert_str_eq(text, "abc");
	ck_assert_int_eq(proto_decode_error(&frame, &code, text, 0), -EPROTO);
	frame.body_len = sizeof(body);
	ck_assert_int_eq(proto_decode_error(&frame, &code, text, sizeof(text)), -EPROTO);
	frame.body_len = 3;
	ck_assert_int_eq(proto_decode_error(&frame, &code, text, sizeof(text)), -EPROTO);
	frame.body_len = 8;
	body[1] = 0x10;
	ck_assert_int_eq(proto_decode_error(&frame, &code, text, sizeof(text)), -EPROTO);
	body[0] = body[1] = 0;
	ck_assert_int_eq(proto_decode_error(&frame, &code, text, sizeof(text)), -EPROTO);
}
END_TEST

static int open_zero(void)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* Two frames in one read: each has its own, and what nobody took is closed with the next call. */
START_TEST(descriptors_come_with_their_frame)
{
	int fds[2], zero = open_zero(), left, kept;
	struct proto_frame frame;
	const int three[] = {zero, zero, zero};

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	reader.takes_fds = true;
	ck_assert_int_eq(proto_send(fds[0], PROTO_START, 1, NULL, 0), 0);
	ck_assert_int_eq(proto_send_fds(fds[0], PROTO_ATTACH, 2, "12345678", 8, three, 3), 0);
	ck_assert_int_eq(proto_send_fds(fds[0], PROTO_EXEC, 3, "{}", 2, three, 1), 0);
	while (proto_reader_fill(&reader, fds[1]) == 1)
		;
	ck_assert_int_eq(proto_reader_next(&reader, &frame), 1);
	ck_assert_uint_eq(frame.fd_count, 0);
	ck_assert_int_eq(proto_reader_next(&reader, &frame), 1);
	ck_assert_int_eq(frame.type, PROTO_ATTACH);
	ck_assert_uint_eq(frame.fd_count, 3);
	ck_assert(fcntl(frame.fds[0], F_GETFD) & FD_CLOEXEC);
	kept = take_fd(&frame.fds[0]);
	left = frame.fds[1];
	ck_assert_int_eq(proto_reader_next(&reader, &frame), 1);
	ck_assert(is_open(kept));
	ck_assert(!is_open(left));
	ck_assert_int_eq(frame.type, PROTO_EXEC);
	ck_assert_uint_eq(frame.fd_count, 1);
	left = frame.fds[0];
	ck_assert(is_open(left));
	proto_reader_destroy(&reader);
	ck_assert(!is_open(left));
	close(kept);
	close(zero);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* Announced but not sent; sent to a reader that takes none; more than fit. */
START_TEST(descriptors_are_bounded)
{
	static const uint8_t one_missing[] = {'B', 'L', 'K', '1', 0, 0, 0, 0,
					      17,  0,	1,   0,	  1, 0, 0, 0};
	int fds[2], zero = open_zero(), many[PROTO_FDS_MAX], next;
	struct proto_frame frame;

	feed(one_missing, sizeof(one_missing));
	ck_assert_int_eq(proto_reader_next(&reader, &frame), -EPROTO);
	proto_reader_destroy(&reader);
	for (int i = 0; i < PROTO_FDS_MAX; i++)
		many[i] = zero;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	ck_assert_int_eq(proto_send_fds(fds[0], PROTO_EXEC, 1, NULL, 0, many, 1), 0);
	ck_assert_int_eq(proto_reader_fill(&reader, fds[1]), 1);
	ck_assert_int_eq(proto_reader_next(&reader, &frame), -EPROTO);
	proto_reader_destroy(&reader);

	next = dup(zero);
	close(next);
	reader.takes_fds = true;
	/* Half a frame keeps the first ones waiting. */
	ck_assert_int_eq(proto_send_fds(fds[0], PROTO_EXEC, 1, "ab", 2, many, PROTO_FDS_MAX), 0);
	ck_assert_int_eq(proto_send_fds(fds[0], PROTO_EXEC, 1, "ab", 2, many, 1), 0);
	ck_assert_int_eq(proto_reader_fill(&reader, fds[1]), 1);
	ck_assert_int_eq(proto_reader_fill(&reader, fds[1]), -EPROTO);
	ck_assert_uint_eq(reader.fd_count, 0);
	ck_assert(!is_open(next));
	ck_assert_int_eq(proto_send_fds(fds[0], PROTO_EXEC, 1, NULL, 0, many, PROTO_FDS_MAX + 1),
			 -EMSGSIZE);
	close(zero);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(bodies_of_exec_freeze_and_oom)
{
	uint8_t body[sizeof(struct proto_exec) + 2] = {0};
	struct proto_exec head = {.process = 255, .holder = 4711}, out;
	struct proto_freeze freeze = {.frozen = 1};
	struct proto_oom oom = {.kills = 1ull << 40};
	struct proto_frame frame = with_body(body, sizeof(body));
	const char *json;
	size_t len;

	memcpy(body, &head, sizeof(head));
	memcpy(body + sizeof(head), "{}", 2);
	ck_assert_int_eq(proto_decode_exec(&frame, &out, &json, &len), 0);
	ck_assert_uint_eq(out.process, 255);
	ck_assert_uint_eq(out.holder, 4711);
	ck_assert_uint_eq(len, 2);
	ck_assert_mem_eq(json, "{}", 2);
	/* No JSON at all is for who parses it; half a head is for nobody. */
	frame.body_len = sizeof(head);
	ck_assert_int_eq(proto_decode_exec(&frame, &out, &json, &len), 0);
	ck_assert_uint_eq(len, 0);
	frame.body_len = sizeof(head) - 1;
	ck_assert_int_eq(proto_decode_exec(&frame, &out, &json, &len), -EPROTO);
	frame.body_len = sizeof(head);
	head.process = PROTO_PROCESS_MAX;
	memcpy(body, &head, sizeof(head));
	ck_assert_int_eq(proto_decode_exec(&frame, &out, &json, &len), -EPROTO);

	frame = with_body(&freeze, sizeof(freeze));
	ck_assert_int_eq(proto_decode_freeze(&frame, &freeze), 0);
	freeze.frozen = 2;
	ck_assert_int_eq(proto_decode_freeze(&frame, &freeze), -EPROTO);
	frame = with_body(&oom, sizeof(oom));
	ck_assert_int_eq(proto_decode_oom(&frame, &oom), 0);
	ck_assert_uint_eq(oom.kills, 1ull << 40);
	frame.body_len = sizeof(oom) - 1;
	ck_assert_int_eq(proto_decode_oom(&frame, &oom), -EPROTO);
}
END_TEST

Suite *protocol_suite(void)
{
	Suite *suite = suite_create("protocol");
	TCase *tcase = tcase_create("protocol");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_frame_has_the_bytes_it_should);
	tcase_add_loop_test(tcase, frames_come_in_any_pieces, 1, 42);
	tcase_add_test(tcase, bad_headers_are_refused);
	tcase_add_test(tcase, frames_travel_over_a_socket);
	tcase_add_test(tcase, a_frame_of_the_largest_size_passes_and_memory_stays_bounded);
	tcase_add_test(tcase, bodies_have_exactly_their_size);
	tcase_add_test(tcase, fields_out_of_range_are_refused);
	tcase_add_test(tcase, bodies_of_exec_freeze_and_oom);
	tcase_add_loop_test(tcase, text_of_errors_is_cleaned, 0,
			    (int)(sizeof(texts) / sizeof(texts[0])));
	tcase_add_test(tcase, errors_are_bounded);
	tcase_add_test(tcase, descriptors_come_with_their_frame);
	tcase_add_test(tcase, descriptors_are_bounded);
	suite_add_tcase(suite, tcase);
	return suite;
}
