#include "runtime/json.h"

#include <stdarg.h>

json_t *json_at(json_t *from, ...)
{
	const char *name;
	va_list args;

	va_start(args, from);
	while (from && (name = va_arg(args, const char *)))
		from = json_object_get(from, name);
	va_end(args);
	return from;
}
