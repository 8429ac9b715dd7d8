#include "protocol/protocol.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "protocol/descriptors.h"

#define HEADER_LEN   sizeof(struct proto_header)
#define READER_FIRST 4096u

void proto_reader_destroy(struct proto_reader *reader)
{
	free(reader->buffer);
	proto_fds_drop(reader, reader->fd_count);
	memset(reader, 0, sizeof(*reader));
}

static bool type_known(uint16_t type)
{
	switch (type) {
	case PROTO_HELLO:
	case PROTO_CREATE ... PROTO_REQUEST_LAST:
	case PROTO_COUNTERS ... PROTO_SAVE:
	case PROTO_RESUMED:
	case PROTO_OK:
	case PROTO_ERROR:
	case PROTO_EXITED:
	case PROTO_OOM:
		return true;
	default:
		return false;
	}
}

/* The bytes are read in place and in wire order; the copy makes alignment no concern. */
static int header_read(const uint8_t *bytes, struct proto_header *header)
{
	memcpy(header, bytes, HEADER_LEN);
	header->magic = le32toh(header->magic);
	header->body_len = le32toh(header->body_len);
	header->type = le16toh(header->type);
	header->fds = le16toh(header->fds);
	header->id = le32toh(header->id);
	if (header->magic != PROTO_MAGIC || header->fds > PROTO_FDS_MAX ||
	    !type_known(header->type))
		return -EPROTO;
	if (header->body_len > PROTO_BODY_MAX)
		return -EMSGSIZE;
	return 0;
}

static int reader_grow(struct proto_reader *reader, size_t size)
{
	uint8_t *buffer;

	if (size <= reader->size)
		return 0;
	buffer = realloc(reader->buffer, size);
	if (!buffer)
		return -ENOMEM;
	reader->buffer = buffer;
	reader->size = size;
	return 0;
}

/*
 * Frames are handed out in place. What was handed out is dropped only when bytes are added: moving
 * the rest after each frame would let a peer of many small frames cost us quadratic time.
 */
static void reader_drop_taken(struct proto_reader *reader)
{
	if (!reader->taken)
		return;
	reader->used -= reader->taken;
	memmove(reader->buffer, reader->buffer + reader->taken, reader->used);
	reader->taken = 0;
}

/* Makes room behind what is there: as much as the frame under way needs, when that is known. */
static int reader_make_room(struct proto_reader *reader)
{
	size_t want = READER_FIRST;
	struct proto_header header;

	reader_drop_taken(reader);
	if (reader->used >= HEADER_LEN) {
		int ret = header_read(reader->buffer, &header);

		if (ret < 0)
			return ret;
		want = HEADER_LEN + header.body_len;
		/* A whole frame is waiting already: the caller has not taken it, take one more. */
		if (want <= reader->used)
			want = reader->used + READER_FIRST;
	}
	return reader_grow(reader, want);
}

int proto_reader_fill(struct proto_reader *reader, int fd)
{
	int ret = reader_make_room(reader);
	ssize_t len;

	if (ret < 0)
		return ret;
	do
		len = reader->takes_fds ? proto_fds_read(reader, fd)
					: read(fd, reader->buffer + reader->used,
					       reader->size - reader->used);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return -errno;
	reader->used += (size_t)len;
	return len > 0;
}

int proto_reader_feed(struct proto_reader *reader, const void *bytes, size_t len)
{
	int ret;

	reader_drop_taken(reader);
	if (!len)
		return 0;
	if (len > SIZE_MAX - reader->used)
		return -ENOMEM;
	ret = reader_grow(reader, reader->used + len);
	if (ret < 0)
		return ret;
	memcpy(reader->buffer + reader->used, bytes, len);
	reader->used += len;
	return 0;
}

int proto_reader_next(struct proto_reader *reader, struct proto_frame *frame)
{
	size_t left = reader->used - reader->taken;
	const uint8_t *at;
	struct proto_header header;
	int ret;

	proto_fds_drop(reader, reader->fds_taken);
	if (left < HEADER_LEN)
		return 0;
	at = reader->buffer + reader->taken;
	ret = header_read(at, &header);
	if (ret < 0)
		return ret;
	if (left - HEADER_LEN < header.body_len)
		return 0;
	/* Descriptors come with the first byte of their frame, so all must be there. */
	if (header.fds > reader->fd_count)
		return -EPROTO;
	frame->fds = reader->fds;
	frame->fd_count = reader->fds_taken = header.fds;
	frame->type = header.type;
	frame->id = header.id;
	frame->body = at + HEADER_LEN;
	frame->body_len = header.body_len;
	reader->taken += HEADER_LEN + header.body_len;
	return 1;
}

static ssize_t frame_make(uint8_t **out, enum proto_type type, uint32_t id, const void *body,
			  size_t body_len, unsigned int fd_count)
{
	struct proto_header header = {
		.magic = htole32(PROTO_MAGIC),
		.body_len = htole32((uint32_t)body_len),
		.type = htole16((uint16_t)type),
		.fds = htole16((uint16_t)fd_count),
		.id = htole32(id),
	};

	if (body_len > PROTO_BODY_MAX)
		return -EMSGSIZE;
	*out = malloc(HEADER_LEN + body_len);
	if (!*out)
		return -ENOMEM;
	memcpy(*out, &header, HEADER_LEN);
	if (body_len)
		memcpy(*out + HEADER_LEN, body, body_len);
	return (ssize_t)(HEADER_LEN + body_len);
}

ssize_t proto_frame_make(uint8_t **out, enum proto_type type, uint32_t id, const void *body,
			 size_t body_len)
{
	return frame_make(out, type, id, body, body_len, 0);
}

int proto_send_fds(int fd, enum proto_type type, uint32_t id, const void *body, size_t body_len,
		   const int *fds, unsigned int fd_count)
{
	cleanup_free uint8_t *frame = NULL;
	ssize_t len;
	size_t sent = 0;

	if (fd_count > PROTO_FDS_MAX)
		return -EMSGSIZE;
	len = frame_make(&frame, type, id, body, body_len, fd_count);
	if (len < 0)
		return (int)len;
	while (sent < (size_t)len) {
		/* The descriptors go with the first bytes and not again. */
		ssize_t n = sent || !fd_count
				    ? send(fd, frame + sent, (size_t)len - sent, MSG_NOSIGNAL)
				    : proto_fds_write(fd, frame, (size_t)len, fds, fd_count);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			sent += (size_t)n;
	}
	return 0;
}

int proto_send(int fd, enum proto_type type, uint32_t id, const void *body, size_t body_len)
{
	return proto_send_fds(fd, type, id, body, body_len, NULL, 0);
}

int proto_send_error(int fd, uint32_t id, int code, const char *text)
{
	struct {
		struct proto_error error;
		char text[PROTO_TEXT_MAX];
	} __attribute__((packed)) body;
	size_t len = strnlen(text, PROTO_TEXT_MAX);

	body.error.code = htole32((uint32_t)code);
	memcpy(body.text, text, len);
	return proto_send(fd, PROTO_ERROR, id, &body, sizeof(body.error) + len);
}

/* Bodies. Each has exactly its struct's size: a longer one is from a peer we do not understand. */
static int body_copy(const struct proto_frame *frame, void *out, size_t len)
{
	if (frame->body_len != len)
		return -EPROTO;
	memcpy(out, frame->body, len);
	return 0;
}

int proto_decode_hello(const struct proto_frame *frame, struct proto_hello *out)
{
	if (body_copy(frame, out, sizeof(*out)) < 0)
		return -EPROTO;
	out->version = le32toh(out->version);
	out->uptime_ns = le64toh(out->uptime_ns);
	return out->reserved ? -EPROTO : 0;
}

int proto_decode_time(const struct proto_frame *frame, struct proto_time *out)
{
	if (body_copy(frame, out, sizeof(*out)) < 0)
		return -EPROTO;
	out->realtime_ns = le64toh(out->realtime_ns);
	out->memory_more = le64toh(out->memory_more);
	return out->realtime_ns <= INT64_MAX ? 0 : -EPROTO;
}

int proto_decode_resumed(const struct proto_frame *frame, struct proto_resumed *out)
{
	if (body_copy(frame, out, sizeof(*out)) < 0)
		return -EPROTO;
	out->realtime_ns = le64toh(out->realtime_ns);
	return out->realtime_ns <= INT64_MAX ? 0 : -EPROTO;
}

int proto_decode_process(const struct proto_frame *frame, struct proto_process *out)
{
	struct proto_process body;

	if (body_copy(frame, &body, sizeof(body)) < 0)
		return -EPROTO;
	out->process = le32toh(body.process);
	return out->process < PROTO_PROCESS_MAX ? 0 : -EPROTO;
}

int proto_decode_freeze(const struct proto_frame *frame, struct proto_freeze *out)
{
	if (body_copy(frame, out, sizeof(*out)) < 0)
		return -EPROTO;
	out->frozen = le32toh(out->frozen);
	return out->frozen > 1 ? -EPROTO : 0;
}

int proto_decode_oom(const struct proto_frame *frame, struct proto_oom *out)
{
	if (body_copy(frame, out, sizeof(*out)) < 0)
		return -EPROTO;
	out->kills = le64toh(out->kills);
	return 0;
}

int proto_decode_exec(const struct proto_frame *frame, struct proto_exec *out, const char **json,
		      size_t *json_len)
{
	if (frame->body_len < sizeof(*out))
		return -EPROTO;
	memcpy(out, frame->body, sizeof(*out));
	out->process = le32toh(out->process);
	out->holder = le32toh(out->holder);
	*json = (const char *)frame->body + sizeof(*out);
	*json_len = frame->body_len - sizeof(*out);
	return out->process < PROTO_PROCESS_MAX && out->holder <= INT32_MAX ? 0 : -EPROTO;
}

int proto_decode_signal(const struct proto_frame *frame, struct proto_signal *out)
{
	if (body_copy(frame, out, sizeof(*out)) < 0)
		return -EPROTO;
	out->process = le32toh(out->process);
	out->signal = le32toh(out->signal);
	out->flags = le32toh(out->flags);
	if (out->process >= PROTO_PROCESS_MAX || out->signal < 1 || out->signal > 64 ||
	    (out->flags & ~PROTO_SIGNAL_ALL))
		return -EPROTO;
	return 0;
}

int proto_decode_attach(const struct proto_frame *frame, struct proto_attach *out,
			const void **parameters, size_t *len)
{
	if (frame->body_len < sizeof(*out))
		return -EPROTO;
	memcpy(out, frame->body, sizeof(*out));
	out->kind = le32toh(out->kind);
	out->index = le32toh(out->index);
	*parameters = frame->body + sizeof(*out);
	*len = frame->body_len - sizeof(*out);
	return 0;
}

int proto_decode_bytes(const void *parameters, size_t len, uint64_t *out)
{
	if (len != sizeof(*out))
		return -EPROTO;
	memcpy(out, parameters, len);
	*out = le64toh(*out);
	return 0;
}

int proto_decode_rates(const void *parameters, size_t len, struct proto_rates *out)
{
	if (len != sizeof(*out))
		return -EPROTO;
	memcpy(out, parameters, len);
	for (int i = 0; i < PROTO_RATES; i++) {
		out->rates[i].per_second = le64toh(out->rates[i].per_second);
		out->rates[i].burst = le64toh(out->rates[i].burst);
	}
	return 0;
}

int proto_decode_resize(const struct proto_frame *frame, struct proto_resize *out)
{
	if (body_copy(frame, out, sizeof(*out)) < 0)
		return -EPROTO;
	out->process = le32toh(out->process);
	out->rows = le16toh(out->rows);
	out->columns = le16toh(out->columns);
	return out->process < PROTO_PROCESS_MAX ? 0 : -EPROTO;
}

int proto_decode_exited(const struct proto_frame *frame, struct proto_exited *out)
{
	if (body_copy(frame, out, sizeof(*out)) < 0)
		return -EPROTO;
	out->process = le32toh(out->process);
	out->status = le32toh(out->status);
	/* Only what ended may be said to have ended: stopped and continued have other bits. */
	if (out->process >= PROTO_PROCESS_MAX || (out->status & ~0xffffu))
		return -EPROTO;
	if (WIFEXITED((int)out->status))
		return 0;
	return WIFSIGNALED((int)out->status) && WTERMSIG((int)out->status) <= 64 &&
			       !(out->status & 0xff00)
		       ? 0
		       : -EPROTO;
}

int proto_decode_status(const struct proto_frame *frame, struct proto_status *out)
{
	if (body_copy(frame, out, sizeof(*out)) < 0)
		return -EPROTO;
	out->state = le32toh(out->state);
	out->exit_status = le32toh(out->exit_status);
	out->vmm_started_ns = le64toh(out->vmm_started_ns);
	out->vm_created_ns = le64toh(out->vm_created_ns);
	out->kernel_entered_ns = le64toh(out->kernel_entered_ns);
	out->agent_ready_ns = le64toh(out->agent_ready_ns);
	out->created_ns = le64toh(out->created_ns);
	out->started_ns = le64toh(out->started_ns);
	out->template_use = le32toh(out->template_use);
	out->oom_kills = le64toh(out->oom_kills);
	out->memory_boot = le64toh(out->memory_boot);
	out->memory_room = le64toh(out->memory_room);
	out->memory_grown = le64toh(out->memory_grown);
	out->memory_requested = le64toh(out->memory_requested);
	out->memory_plugged = le64toh(out->memory_plugged);
	if (out->state < PROTO_STATE_CREATING || out->state > PROTO_STATE_PAUSED)
		return -EPROTO;
	return 0;
}

/*
 * The length of the character at bytes, or 0 when it is not one to show: broken UTF-8, or a control
 * character, of which terminals also know those from U+0080 to U+009F.
 */
static size_t character_len(const uint8_t *bytes, size_t len)
{
	uint8_t first = bytes[0];
	size_t want = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

	if (want == 1)
		return (first >= 0x20 && first != 0x7f) || first == '\n' || first == '\t';
	if (first < 0xc2 || first > 0xf4 || want > len)
		return 0;
	for (size_t i = 1; i < want; i++)
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
	/* Controls, overlong forms, surrogates, and what lies beyond U+10FFFF. */
	if ((first == 0xc2 && bytes[1] < 0xa0) || (first == 0xe0 && bytes[1] < 0xa0) ||
	    (first == 0xed && bytes[1] > 0x9f) || (first == 0xf0 && bytes[1] < 0x90) ||
	    (first == 0xf4 && bytes[1] > 0x8f))
		return 0;
	return want;
}

void proto_text_clean(char *out, const uint8_t *text, size_t len)
{
	size_t at = 0;

	while (at < len) {
		size_t part = character_len(text + at, len - at);

		if (part)
			memcpy(out + at, text + at, part);
		else
			out[at] = '?';
		at += part ? part : 1;
	}
	out[len] = '\0';
}

int proto_decode_error(const struct proto_frame *frame, int *code, char *text, size_t text_size)
{
	struct proto_error body;
	size_t len;

	if (frame->body_len < sizeof(body) || frame->body_len > sizeof(body) + PROTO_TEXT_MAX ||
	    !text_size)
		return -EPROTO;
	memcpy(&body, frame->body, sizeof(body));
	body.code = le32toh(body.code);
	if (!body.code || body.code > 4095)
		return -EPROTO;
	*code = (int)body.code;
	len = frame->body_len - sizeof(body);
	if (len > text_size - 1)
		len = text_size - 1;
	proto_text_clean(text, frame->body + sizeof(body), len);
	return 0;
}
