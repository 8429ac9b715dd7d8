#include "protocol/ps.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The same either way. */
static void swap(struct proto_ps *ps)
{
	ps->pid = le32toh(ps->pid);
	ps->ppid = le32toh(ps->ppid);
	ps->uid = le32toh(ps->uid);
	ps->gid = le32toh(ps->gid);
	ps->tty = le32toh(ps->tty);
	ps->state = le32toh(ps->state);
	ps->nice = (int32_t)le32toh((uint32_t)ps->nice);
	ps->threads = le32toh(ps->threads);
	ps->elapsed_ms = le64toh(ps->elapsed_ms);
	ps->cpu_ms = le64toh(ps->cpu_ms);
	ps->vsz_kib = le64toh(ps->vsz_kib);
	ps->rss_kib = le64toh(ps->rss_kib);
	ps->name_len = le16toh(ps->name_len);
	ps->args_len = le16toh(ps->args_len);
}

int proto_ps_begin(struct proto_ps_reader *reader, const struct proto_frame *frame)
{
	struct proto_ps_list list;

	if (frame->body_len < sizeof(list))
		return -EPROTO;
	memcpy(&list, frame->body, sizeof(list));
	reader->at = frame->body + sizeof(list);
	reader->left = frame->body_len - sizeof(list);
	reader->count = le32toh(list.count);
	reader->cut = le32toh(list.flags) & PROTO_PS_CUT;
	/* Each takes its struct and two terminators: an impossible count is known at once. */
	if (reader->count > reader->left / (sizeof(struct proto_ps) + 2) ||
	    (le32toh(list.flags) & ~PROTO_PS_CUT))
		return -EPROTO;
	return 0;
}

/* A text of len bytes and its NUL. In one line: what would break it becomes a question mark. */
static int take_text(struct proto_ps_reader *reader, char *out, size_t len)
{
	if (reader->left < len + 1 || reader->at[len] != '\0')
		return -EPROTO;
	proto_text_clean(out, reader->at, len);
	for (char *at = out; *at; at++)
		if (*at == '\n' || *at == '\t')
			*at = '?';
	reader->at += len + 1;
	reader->left -= len + 1;
	return 0;
}

int proto_ps_next(struct proto_ps_reader *reader, struct proto_ps_entry *entry)
{
	struct proto_ps *ps = &entry->ps;

	if (!reader->count)
		return reader->left ? -EPROTO : 0;
	if (reader->left < sizeof(*ps))
		return -EPROTO;
	memcpy(ps, reader->at, sizeof(*ps));
	swap(ps);
	reader->at += sizeof(*ps);
	reader->left -= sizeof(*ps);
	reader->count--;
	if (ps->name_len > PROTO_PS_NAME_MAX || ps->args_len > PROTO_PS_ARGS_MAX ||
	    ps->state < 'A' || ps->state > 'z' || ps->pid > INT32_MAX || ps->ppid > INT32_MAX)
		return -EPROTO;
	if (take_text(reader, entry->name, ps->name_len) < 0 ||
	    take_text(reader, entry->args, ps->args_len) < 0)
		return -EPROTO;
	return 1;
}

static int writer_grow(struct proto_ps_writer *writer, size_t needed)
{
	size_t size = writer->size ? writer->size : 4096;
	uint8_t *bytes;

	while (size < needed)
		size *= 2;
	if (size == writer->size)
		return 0;
	bytes = realloc(writer->bytes, size);
	if (!bytes)
		return -ENOMEM;
	writer->bytes = bytes;
	writer->size = size;
	return 0;
}

static void count(struct proto_ps_writer *writer, uint32_t more, uint32_t flags)
{
	struct proto_ps_list list;

	memcpy(&list, writer->bytes, sizeof(list));
	list.count = htole32(le32toh(list.count) + more);
	list.flags |= htole32(flags);
	memcpy(writer->bytes, &list, sizeof(list));
}

static void put(struct proto_ps_writer *writer, const void *bytes, size_t len)
{
	memcpy(writer->bytes + writer->used, bytes, len);
	writer->used += len;
}

int proto_ps_add(struct proto_ps_writer *writer, const struct proto_ps *ps, const char *name,
		 const char *args)
{
	static const struct proto_ps_list none = {0};
	struct proto_ps wire = *ps;
	size_t len = sizeof(wire) + ps->name_len + ps->args_len + 2u;
	size_t start = writer->used ? 0 : sizeof(none);
	int ret;

	if (ps->name_len > PROTO_PS_NAME_MAX || ps->args_len > PROTO_PS_ARGS_MAX)
		return -EINVAL;
	if (writer->used + start + len > PROTO_BODY_MAX) {
		count(writer, 0, PROTO_PS_CUT);
		return 0;
	}
	ret = writer_grow(writer, writer->used + start + len);
	if (ret < 0)
		return ret;
	if (start)
		put(writer, &none, sizeof(none));
	swap(&wire);
	put(writer, &wire, sizeof(wire));
	put(writer, name, ps->name_len);
	put(writer, "", 1);
	put(writer, args, ps->args_len);
	put(writer, "", 1);
	count(writer, 1, 0);
	return 0;
}
