/*
 * The error convention of the whole tree (docs/style.md has it with examples).
 *
 * A function that can fail returns 0 or a count on success and a negative errno on failure. Where
 * a person will read about it, it also takes a struct error and fills in one line that names the
 * thing and the failed step; the first message set is kept, because it is nearest to the cause,
 * and callers put what they know in front of it:
 *
 *	fd = open(path, O_RDONLY | O_CLOEXEC);
 *	if (fd < 0)
 *		return error_set(err, errno, "open %s", path);
 *	...
 *	if (ret < 0)
 *		return error_prefix(err, ret, "container %s", id);
 *
 * err may be NULL everywhere.
 */
#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

#include <errno.h>

#define ERROR_MESSAGE_MAX 8192

struct error {
	int code; /* positive errno, 0 while nothing failed */
	char message[ERROR_MESSAGE_MAX];
};

/* Sets "message: strerror(code)", unless a message is there already. Returns -code. */
int error_set(struct error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same without the strerror part: for messages that say all themselves. Returns -code. */
int error_say(struct error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "prefix: " in front of the message. Returns ret, the negative errno being passed up. */
int error_prefix(struct error *err, int ret, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Forgets the error, so that err can serve another call. */
void error_clear(struct error *err);

#ifdef __clang_analyzer__
/* It looks into one file at a time, and would think of errors that are none. */
#define error_set(...)		  (error_set(__VA_ARGS__), -1)
#define error_say(...)		  (error_say(__VA_ARGS__), -1)
#define error_prefix(e, ret, ...) (error_prefix(e, ret, __VA_ARGS__), ret)
#endif

#endif
