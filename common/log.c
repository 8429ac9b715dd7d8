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
	enum log_level threshold;
} sink = {.fd = STDERR_FILENO, .threshold = LOG_LEVEL_INFO};

void log_open(int fd, bool json, enum log_level threshold)
{
	sink.fd = fd;
	sink.json = json;
	sink.threshold = threshold;
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

void log_write(enum log_level level, const char *fmt, ...)
{
	char message[LOG_MESSAGE_MAX], quoted[LOG_MESSAGE_MAX * 2], line[LOG_MESSAGE_MAX * 2 + 128];
	char stamp[32];
	struct timespec now;
	struct tm tm;
	va_list args;
	int len;

	if (!log_enabled(level))
		return;
	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	quote(quoted, sizeof(quoted), message);

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);

	len = snprintf(line, sizeof(line),
		       sink.json ? "{\"level\":\"%s\",\"msg\":\"%s\",\"time\":\"%s\"}\n"
				 : "level=%s msg=\"%s\" time=\"%s\"\n",
		       level_names[level], quoted, stamp);
	/* A log that cannot be written must not stop the container. */
	if (write(sink.fd, line, (size_t)len) < 0)
		return;
}
