#include "runtime/control_client.h"
#include "runtime/state.h"

#include "common/cleanup.h"
#include "common/clock.h"

#include <endian.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ATTACH_LIMIT_MS 5000

void control_adopt(struct control *control, int fd)
{
	/* A VMM that does not read must not hold a sender for ever. */
	struct timeval limit = {.tv_sec = 10};

	control->fd = fd;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

int control_connect(struct control *control, int dir_fd, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval limit = {.tv_sec = 2};

	if (fd < 0)
		return error_set(err, errno, "control socket");
	/* By the folder's descriptor: the path itself may be longer than sun_path. */
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd,
		 STATE_CONTROL_SOCKET);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set(err, errno, "connect to the VMM");
	control_adopt(control, take_fd(&fd));
	return 0;
}

void control_close(struct control *control)
{
	close_fd(&control->fd);
	proto_reader_destroy(&control->reader);
}

static int post(struct control *control, enum proto_type type, const void *body, size_t body_len,
		const struct control_fds *fds, uint32_t *id, struct error *err)
{
	int ret;

	*id = ++control->last_id;
	ret = proto_send_fds(control->fd, type, *id, body, body_len, fds ? fds->fds : NULL,
			     fds ? fds->count : 0);
	if (ret < 0 && ret != -EPIPE && ret != -ECONNRESET)
		return error_set(err, -ret, "send a request to the VMM");
	/* A VMM that failed has closed its end, and its ERROR may be waiting to be read. */
	return 0;
}

int control_post(struct control *control, enum proto_type type, const void *body, size_t body_len,
		 uint32_t *id, struct error *err)
{
	return post(control, type, body, body_len, NULL, id, err);
}

static int poll_timeout(uint64_t ns)
{
	return ns / 1000000u < INT_MAX ? (int)(ns / 1000000u) + 1 : -1;
}

/* Waits for bytes. Returns 0, -ETIMEDOUT or -EINTR. */
static int wait_readable(const struct control *control, uint64_t end_ns)
{
	struct pollfd fds[2] = {{.fd = control->fd, .events = POLLIN},
				{.fd = control->interrupt_fd, .events = POLLIN}};

	for (;;) {
		uint64_t now = monotonic_ns();
		int ret;

		if (now >= end_ns)
			return -ETIMEDOUT;
		ret = poll(fds, 2, poll_timeout(end_ns - now));
		if (ret < 0 && errno != EINTR)
			return -errno;
		if (ret > 0 && fds[1].revents)
			return -EINTR;
		if (ret > 0 && fds[0].revents)
			return 0;
	}
}

static int read_reply(struct control *control, uint32_t id, uint64_t end_ns,
		      struct proto_frame *reply, struct error *err)
{
	for (;;) {
		int ret = proto_reader_next(&control->reader, reply);

		if (ret < 0)
			return error_set(err, -ret, "the VMM's answer");
		/* id 0: an ERROR to whoever waits. */
		if (ret > 0 && (reply->id == id || (reply->id == 0 && reply->type == PROTO_ERROR)))
			return 0;
		if (ret > 0)
			continue;
		ret = wait_readable(control, end_ns);
		if (ret == -EINTR)
			return error_say(err, EINTR, "interrupted by a signal");
		if (ret < 0)
			return error_set(err, -ret, "wait for the VMM's answer");
		ret = proto_reader_fill(&control->reader, control->fd);
		if (ret == 0)
			return error_say(err, ECONNRESET, "the VMM ended without an answer");
		if (ret < 0 && ret != -EINTR && ret != -EAGAIN)
			return error_set(err, -ret, "read the VMM's answer");
	}
}

int control_check(const struct proto_frame *reply, struct error *err)
{
	char text[PROTO_TEXT_MAX + 1];
	int code = 0, ret;

	if (reply->type == PROTO_OK)
		return 0;
	if (reply->type != PROTO_ERROR)
		return error_say(err, EPROTO, "the VMM answered with type %d", reply->type);
	ret = proto_decode_error(reply, &code, text, sizeof(text));
	if (ret < 0)
		return error_set(err, -ret, "the VMM's error");
	return error_say(err, code > 0 && code < 4096 ? code : EIO, "%s",
			 *text ? text : "the VMM gave an error without a text");
}

int control_request_fds(struct control *control, enum proto_type type, const void *body,
			size_t body_len, const struct control_fds *fds, int timeout_ms,
			struct proto_frame *reply, struct error *err)
{
	uint64_t end_ns = timeout_ms < 0 ? UINT64_MAX
					 : monotonic_ns() + (uint64_t)timeout_ms * 1000000u;
	struct proto_frame frame;
	uint32_t id;
	int ret;

	ret = post(control, type, body, body_len, fds, &id, err);
	if (ret == 0)
		ret = read_reply(control, id, end_ns, &frame, err);
	if (ret == 0)
		ret = control_check(&frame, err);
	if (ret == 0 && reply)
		*reply = frame;
	return ret;
}

int control_request(struct control *control, enum proto_type type, const void *body,
		    size_t body_len, int timeout_ms, struct proto_frame *reply, struct error *err)
{
	return control_request_fds(control, type, body, body_len, NULL, timeout_ms, reply, err);
}

int control_attach(struct control *control, enum proto_attach_kind kind, uint32_t index,
		   const void *parameters, size_t len, const struct control_fds *fds,
		   struct error *err)
{
	struct proto_attach head = {.kind = htole32(kind), .index = htole32(index)};
	cleanup_free uint8_t *body = malloc(sizeof(head) + len);

	if (!body)
		return error_set(err, ENOMEM, "make the request");
	memcpy(body, &head, sizeof(head));
	if (len)
		memcpy(body + sizeof(head), parameters, len);
	return control_request_fds(control, PROTO_ATTACH, body, sizeof(head) + len, fds,
				   ATTACH_LIMIT_MS, NULL, err);
}

int control_status(struct control *control, struct proto_status *status, int timeout_ms,
		   struct error *err)
{
	struct proto_frame reply;
	int ret = control_request(control, PROTO_STATUS, NULL, 0, timeout_ms, &reply, err);

	if (ret == 0)
		ret = proto_decode_status(&reply, status);
	return ret < 0 ? error_set(err, -ret, "the VMM's status") : 0;
}

int control_signal(struct control *control, int signal, bool all, int timeout_ms, struct error *err)
{
	struct proto_signal body = {
		.process = htole32(PROTO_PROCESS_INIT),
		.signal = htole32((uint32_t)signal),
		.flags = htole32(all ? PROTO_SIGNAL_ALL : 0),
	};

	return control_request(control, PROTO_SIGNAL, &body, sizeof(body), timeout_ms, NULL, err);
}
