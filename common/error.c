#include "common/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The analyser's (error.h). */
#undef error_set
#undef error_say
#undef error_prefix

static void append(struct error *err, const char *text)
{
	size_t used = strlen(err->message);

	snprintf(err->message + used, sizeof(err->message) - used, "%s", text);
}

int error_set(struct error *err, int code, const char *fmt, ...)
{
	va_list args;

	if (!err || err->code)
		return -code;
	err->code = code;
	va_start(args, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	append(err, ": ");
	append(err, strerror(code));
	return -code;
}

int error_say(struct error *err, int code, const char *fmt, ...)
{
	va_list args;

	if (!err || err->code)
		return -code;
	err->code = code;
	va_start(args, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	return -code;
}

int error_prefix(struct error *err, int ret, const char *fmt, ...)
{
	char rest[ERROR_MESSAGE_MAX];
	va_list args;

	if (!err || !err->code)
		return ret;
	memcpy(rest, err->message, sizeof(rest));
	va_start(args, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	append(err, ": ");
	append(err, rest);
	return ret;
}

void error_clear(struct error *err)
{
	if (!err)
		return;
	err->code = 0;
	err->message[0] = '\0';
}
