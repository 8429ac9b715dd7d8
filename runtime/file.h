/* Files: what the standard library does not do in one step. */
#ifndef RUNTIME_FILE_H
#define RUNTIME_FILE_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

/* mkdir -p. Returns 0 or a negative errno. */
int make_directories(const char *path, mode_t mode, struct error *err);

/*
 * Replaces the file at path (below dir_fd, as for openat) in one step: nobody ever sees a part of
 * it. Returns 0 or a negative errno.
 */
int file_replace(int dir_fd, const char *path, mode_t mode, const void *bytes, size_t len,
		 struct error *err);

/* A new file of that name, only ours, in the place of what was there. Returns a descriptor or a
 * negative errno. */
int file_make(int dir_fd, const char *name, struct error *err);

/* Whether it is of that type and ours, and nobody else has any of these rights to it (0022: to
 * write). */
bool file_is_ours(const struct stat *st, mode_t type, mode_t others);

/*
 * Opens a regular file to read that has one name and is ours. Returns a descriptor, or a negative
 * errno: -EPERM where it is not.
 */
int file_open_ours(int dir_fd, const char *name, mode_t others);

/* Reads a whole file, at most max bytes; *out is malloc'ed and terminated. Returns its length. */
ssize_t file_read(int dir_fd, const char *path, size_t max, char **out, struct error *err);

/* Writes everything. Returns 0 or a negative errno. */
int write_all(int fd, const void *bytes, size_t len);

/* asprintf that returns NULL on failure. */
char *format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
