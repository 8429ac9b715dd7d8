/*
 * The log, in runc's format: one line an entry, `time="..." level=... msg="..."` as text or an
 * object with "level", "msg" and "time" as JSON. It goes to the descriptor that log_open names;
 * an entry is one write(2), so that the runtime and the VMM can append to one file. Safe from any
 * thread after log_open.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* fd stays the caller's and must outlive the last entry. Without log_open entries go to stderr. */
void log_open(int fd, bool json, enum log_level threshold);

/* The same for a pipe whose reader makes the entries: each is its message alone, as one line. */
void log_open_pipe(int fd, enum log_level threshold);

/* Whether an entry of this level would be written. */
bool log_enabled(enum log_level level);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
