/*
 * Paths inside the container's root. The image decides what is there, so every path is resolved by
 * openat2 with RESOLVE_IN_ROOT: no symlink and no ".." leads out, and what was opened is then used
 * by its descriptor only.
 */
#ifndef GUEST_AGENT_PATH_H
#define GUEST_AGENT_PATH_H

#include <sys/types.h>

#include "common/error.h"

#define FD_PATH_SIZE 32

/* Opens path below root_fd with flags (O_CLOEXEC is added). Returns a descriptor or -errno. */
int path_open(int root_fd, const char *path, int flags);

/* The same with O_PATH, after making the directories that are missing, mode 0755. */
int path_make_dir(int root_fd, const char *path, struct error *err);

/* The same, but the last component becomes an empty file if there is nothing. */
int path_make_file(int root_fd, const char *path, struct error *err);

/*
 * Makes the directory that path's last component is in and copies that component to name.
 * Returns a descriptor of the directory or -errno.
 */
int path_make_parent(int root_fd, const char *path, char *name, size_t name_size,
		     struct error *err);

/* "/proc/self/fd/N", which mount(2) takes to mean exactly what is open. Returns out. */
const char *path_of_fd(int fd, char out[FD_PATH_SIZE]);

/* Writes text to an existing file with one write. Returns 0 or -errno. */
int path_write(const char *path, const char *text);

#endif
