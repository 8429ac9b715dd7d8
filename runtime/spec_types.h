/* The types of the fields of a config.json that the runtime or the agent reads. */
#ifndef RUNTIME_SPEC_TYPES_H
#define RUNTIME_SPEC_TYPES_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>

/* Types and required fields. The message is as spec_check's (spec_check.h). */
int spec_types_check(json_t *config, struct error *err);

/* The same for what is below a path alone. config is a document in which it is; NULL: no memory for
 * that. */
int spec_types_check_part(json_t *config, const char *path, struct error *err);

/* Whether a field, written as "mounts[].options", is one whose type is checked. */
bool spec_types_know(const char *pattern);

#endif
