#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_MESSAGE_MAX 8192

static const char *const level_names[] = {"error", "warning", "info", "debug"};

static struct {
	int fd;
	bool json;
	bool bare;
	enum log_level threshold;
} sink = {.fd = STDERR_FILENO, .threshold = LOG_LEVEL_INFO};

void log_open(int fd, bool json, enum log_level threshold)
{
	sink.fd = fd;
	sink.json = json;
	sink.bare = false;
	sink.threshold = threshold;
}

void log_open_pipe(int fd, enum log_level threshold)
{
	log_open(fd, false, threshold);
	sink.bare = true;
}

bool log_enabled(enum log_level level)
{
	return level <= sink.threshold;
}

/* Escapes for a double-quoted string; the same escapes serve JSON and logrus' text format. */
static size_t quote(char *out, size_t size, const char *text)
{
	size_t len = 0;

	for (; *text && len + 8 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			len += (size_t)snprintf(out + len, size - len, "\\%c", c);
		else if (c == '\n')
			len += (size_t)snprintf(out + len, size - len, "\\n");
		else if (c == '\t')
			len += (size_t)snprintf(out + len, size - len, "\\t");
		else if (c < 0x20 || c == 0x7f)
			len += (size_t)snprintf(out + len, size - len, "\\u%04x", c);
		else
			out[len++] = (char)c;
	}
	out[len] = '\0';
	return len;
}

/* Returns the length of the entry in line. */
static int compose(char *line, size_t size, enum log_level level, const char *message)
{
	char quoted[LOG_MESSAGE_MAX * 2], stamp[32];
	struct timespec now;
	struct tm tm;

	quote(quoted, sizeof(quoted), message);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return snprintf(line, size,
			sink.json ? "{\"level\":\"%s\",\"msg\":\"%s\",\"time\":\"%s\"}\n"
				  : "level=%s msg=\"%s\" time=\"%s\"\n",
			level_names[level], quoted, stamp);
}

/* The same of an entry that another process makes. */
static int compose_bare(char *line, size_t size, const char *message)
{
	int len = snprintf(line, size, "%s\n", message);

	for (int i = 0; i < len - 1; i++)
		if (line[i] == '\n')
			line[i] = ' ';
	return len;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char message[LOG_MESSAGE_MAX], line[LOG_MESSAGE_MAX * 2 + 128];
	va_list args;
	int len;

	if (!log_enabled(level))
		return;
	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	len = sink.bare ? compose_bare(line, sizeof(line), message)
			: compose(line, sizeof(line), level, message);
	/* A log that cannot be written must not stop the container. */
	if (write(sink.fd, line, (size_t)len) < 0)
		return;
}
