/* One descriptor beside some bytes on a Unix socket (SCM_RIGHTS; unix(7)). */
#ifndef COMMON_PASS_FD_H
#define COMMON_PASS_FD_H

#include <stddef.h>
#include <sys/types.h>

/* Sends len bytes, at least one, with fd, which stays the caller's. Returns 0 or a negative errno.
 */
int pass_fd(int socket_fd, int fd, const void *bytes, size_t len, int flags);

/*
 * Receives up to len bytes and in *fd the descriptor that came with them, close-on-exec, or -1.
 * Returns as recvmsg(2), but a negative errno. More descriptors than one are closed.
 */
ssize_t receive_fd(int socket_fd, int *fd, void *bytes, size_t len);

#endif
