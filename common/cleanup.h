/*
 * Scope-bound ownership. A variable marked cleanup_fd, cleanup_free, cleanup_file or cleanup_dir
 * owns its resource until the scope ends; hand it over with take_fd() or take_ptr(), which leave
 * the variable empty.
 */
#ifndef COMMON_CLEANUP_H
#define COMMON_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_fd_(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_free_(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_file_(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_dir_(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define cleanup_fd   __attribute__((cleanup(cleanup_fd_)))
#define cleanup_free __attribute__((cleanup(cleanup_free_)))
#define cleanup_file __attribute__((cleanup(cleanup_file_)))
#define cleanup_dir  __attribute__((cleanup(cleanup_dir_)))

/* Returns *fd and gives its ownership to the caller. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* The same for a pointer variable. */
#define take_ptr(var)                           \
	({                                      \
		__typeof__(var) taken_ = (var); \
		(var) = NULL;                   \
		taken_;                         \
	})

/* Closes *fd if it is open, and marks it closed. */
static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

#endif
