/* What jansson does not do in one step. */
#ifndef RUNTIME_JSON_H
#define RUNTIME_JSON_H

#include <jansson.h>

/* The value at a path of object names, e.g. json_at(config, "linux", "seccomp", NULL). */
json_t *json_at(json_t *from, ...) __attribute__((sentinel));

#endif
