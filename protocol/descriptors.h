/* Descriptors beside frames (SCM_RIGHTS). Internal to the codec. */
#ifndef PROTOCOL_DESCRIPTORS_H
#define PROTOCOL_DESCRIPTORS_H

#include "protocol/protocol.h"

/*
 * Reads once behind what the reader has; descriptors that come along join its own. As read(2); a
 * sender of more than fit gets -1 with EPROTO, and all are closed.
 */
ssize_t proto_fds_read(struct proto_reader *reader, int fd);

/* Sends bytes with descriptors. As send(2). */
ssize_t proto_fds_write(int fd, const void *bytes, size_t len, const int *fds,
			unsigned int fd_count);

/* Closes the first count descriptors, as far as nobody has taken them, and forgets them. */
void proto_fds_drop(struct proto_reader *reader, unsigned int count);

#endif
