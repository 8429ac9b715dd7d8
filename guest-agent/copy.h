/* tmpcopyup: what the image has at a tmpfs's mount point is copied into the tmpfs. */
#ifndef GUEST_AGENT_COPY_H
#define GUEST_AGENT_COPY_H

/*
 * Copies what is in directory from (O_PATH will do) into directory to: files, directories,
 * symlinks and device nodes with owner and mode. Symlinks are never followed. Returns 0 or -errno.
 */
int copy_tree(int from, int to);

#endif
