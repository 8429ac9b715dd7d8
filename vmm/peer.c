#include "vmm/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"

static void shut(struct peer *peer)
{
	loop_del(peer->loop, &peer->watch);
	close_fd(&peer->fd);
	peer->out_len = 0;
}

void peer_close(struct peer *peer, int reason)
{
	if (!peer->open)
		return;
	peer->open = false;
	peer->reason = reason;
	shut(peer);
	/* In the middle of a frame its body must stay alive; peer_event finishes this. */
	if (!peer->dispatching)
		peer->gone(peer, reason);
}

static int flush(struct peer *peer)
{
	size_t done = 0;

	while (done < peer->out_len) {
		ssize_t sent = send(peer->fd, peer->out + done, peer->out_len - done,
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			break;
		if (sent < 0)
			return -errno;
		done += (size_t)sent;
	}
	peer->out_len -= done;
	memmove(peer->out, peer->out + done, peer->out_len);
	return loop_mod(peer->loop, &peer->watch, peer->out_len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void dispatch(struct peer *peer)
{
	struct proto_frame frame;
	int ret = proto_reader_fill(&peer->reader, peer->fd);

	if (ret == -EAGAIN || ret == -EINTR)
		return;
	if (ret <= 0) {
		peer_close(peer, ret);
		return;
	}
	while (peer->open) {
		ret = proto_reader_next(&peer->reader, &frame);
		if (ret < 0)
			peer_close(peer, ret);
		if (ret <= 0)
			return;
		peer->frame(peer, &frame);
	}
}

static void peer_event(struct loop_watch *watch, uint32_t events)
{
	struct peer *peer = container_of(watch, struct peer, watch);

	peer->dispatching = true;
	if (events & EPOLLOUT) {
		int ret = flush(peer);

		if (ret < 0)
			peer_close(peer, ret);
	}
	/* Reading is what finds out about a hang-up. */
	if (peer->open && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		dispatch(peer);
	peer->dispatching = false;
	if (!peer->open)
		peer->gone(peer, peer->reason);
}

int peer_init(struct peer *peer, struct loop *loop, int fd, peer_frame_fn *frame,
	      peer_gone_fn *gone)
{
	int flags = fcntl(fd, F_GETFL);
	int ret;

	memset(peer, 0, sizeof(*peer));
	peer->fd = -1;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	ret = loop_add(loop, &peer->watch, fd, EPOLLIN, peer_event);
	if (ret < 0)
		return ret;
	peer->loop = loop;
	peer->fd = fd;
	peer->frame = frame;
	peer->gone = gone;
	peer->open = true;
	return 0;
}

void peer_destroy(struct peer *peer)
{
	if (peer->open)
		shut(peer);
	peer->open = false;
	proto_reader_destroy(&peer->reader);
	free(take_ptr(peer->out));
	peer->out_size = 0;
}

static int append(struct peer *peer, const uint8_t *bytes, size_t len)
{
	size_t needed = peer->out_len + len;

	if (needed > PEER_OUT_MAX)
		return -ENOBUFS;
	if (needed > peer->out_size) {
		uint8_t *grown = realloc(peer->out, needed);

		if (!grown)
			return -ENOMEM;
		peer->out = grown;
		peer->out_size = needed;
	}
	memcpy(peer->out + peer->out_len, bytes, len);
	peer->out_len = needed;
	return 0;
}

int peer_send(struct peer *peer, enum proto_type type, uint32_t id, const void *body, size_t len)
{
	cleanup_free uint8_t *frame = NULL;
	ssize_t frame_len;
	int ret;

	if (!peer->open)
		return -EPIPE;
	frame_len = proto_frame_make(&frame, type, id, body, len);
	if (frame_len < 0)
		return (int)frame_len;
	ret = append(peer, frame, (size_t)frame_len);
	/* A broken connection is noticed by the loop, where closing it is safe for the caller. */
	if (ret == 0)
		flush(peer);
	return ret;
}

int peer_send_error(struct peer *peer, uint32_t id, int code, const char *text)
{
	uint8_t body[sizeof(struct proto_error) + PROTO_TEXT_MAX];
	struct proto_error head = {.code = (uint32_t)code};
	size_t len = strnlen(text, PROTO_TEXT_MAX);

	memcpy(body, &head, sizeof(head));
	memcpy(body + sizeof(head), text, len);
	return peer_send(peer, PROTO_ERROR, id, body, sizeof(head) + len);
}

bool peer_flushed(const struct peer *peer)
{
	return !peer->open || peer->out_len == 0;
}
