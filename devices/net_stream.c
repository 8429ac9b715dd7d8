/*
 * A stream socket as a NIC's back end, as passt and QEMU's "-netdev stream" speak it: each frame
 * behind its length in 4 bytes, big-endian, without a virtio header.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "devices/iov.h"
#include "devices/net_internal.h"

#define LENGTH_LEN 4u

struct net_stream {
	uint8_t in[2 * (LENGTH_LEN + NET_FRAME_MAX)];
	size_t in_at, in_len;			 /* what is there: in_len bytes from in_at on */
	uint8_t out[LENGTH_LEN + NET_FRAME_MAX]; /* the rest of a frame that was sent in part */
	size_t out_at, out_len;
};

struct net_stream *net_stream_create(void)
{
	return calloc(1, sizeof(struct net_stream));
}

void net_stream_destroy(struct net_stream *stream)
{
	free(stream);
}

static size_t frame_len(const struct net_stream *stream)
{
	uint32_t len;

	memcpy(&len, stream->in + stream->in_at, sizeof(len));
	return be32toh(len);
}

/* Whether there is all of a frame, or enough to see that it is none. */
static bool whole(const struct net_stream *stream)
{
	if (stream->in_len < LENGTH_LEN)
		return false;
	return frame_len(stream) > NET_FRAME_MAX ||
	       stream->in_len - LENGTH_LEN >= frame_len(stream);
}

/* Moves the first frame to spill, behind an empty header. */
static void take_frame(struct net_pair *pair)
{
	struct net_stream *stream = pair->net->stream;
	size_t len = frame_len(stream), taken = LENGTH_LEN + len;

	memset(pair->spill, 0, NET_HEADER_LEN);
	memcpy(pair->spill + NET_HEADER_LEN, stream->in + stream->in_at + LENGTH_LEN, len);
	pair->spill_len = NET_HEADER_LEN + len;
	stream->in_len -= taken;
	stream->in_at = stream->in_len ? stream->in_at + taken : 0;
}

int net_stream_read(struct net_pair *pair)
{
	struct net_stream *stream = pair->net->stream;

	while (!whole(stream)) {
		size_t used = stream->in_at + stream->in_len;
		ssize_t len;

		/* Room for the frame in hand: it is at most half of all there is. */
		if (used > sizeof(stream->in) / 2) {
			memmove(stream->in, stream->in + stream->in_at, stream->in_len);
			stream->in_at = 0;
			used = stream->in_len;
		}
		len = recv(pair->fd, stream->in + used, sizeof(stream->in) - used, MSG_DONTWAIT);
		if (len < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (len == 0)
			return -ECONNRESET;
		stream->in_len += (size_t)len;
	}
	/* A wrong length: from here on there is no telling where a frame begins. */
	if (frame_len(stream) < NET_FRAME_MIN || frame_len(stream) > NET_FRAME_MAX)
		return -EPROTO;
	take_frame(pair);
	return 1;
}

int net_stream_flush(struct net_pair *pair)
{
	struct net_stream *stream = pair->net->stream;

	while (stream->out_at < stream->out_len) {
		ssize_t len = send(pair->fd, stream->out + stream->out_at,
				   stream->out_len - stream->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return -errno;
		stream->out_at += (size_t)len;
	}
	stream->out_at = stream->out_len = 0;
	return 0;
}

bool net_stream_is_pending(const struct net_stream *stream)
{
	return stream->out_len;
}

int net_stream_write(struct net_pair *pair, const struct iovec *iov, unsigned int count, size_t len)
{
	struct net_stream *stream = pair->net->stream;
	uint32_t length = htobe32((uint32_t)len);
	int ret = net_stream_flush(pair);

	if (ret < 0)
		return ret;
	memcpy(stream->out, &length, LENGTH_LEN);
	stream->out_len = LENGTH_LEN + iov_read(iov, count, 0, stream->out + LENGTH_LEN, len);
	/* What is left over goes before the next frame, when the socket takes more. */
	ret = net_stream_flush(pair);
	if (ret == -EAGAIN)
		net_pair_watch(pair);
	return ret == -EAGAIN ? 0 : ret;
}
