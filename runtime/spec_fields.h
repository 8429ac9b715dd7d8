/*
 * Every field of a config.json is honoured, refused, or listed in docs/conformance.md as without
 * effect in a VM: this is where a field that nothing else looks at is found.
 */
#ifndef RUNTIME_SPEC_FIELDS_H
#define RUNTIME_SPEC_FIELDS_H

#include "common/error.h"

#include <jansson.h>

/*
 * Refuses what cannot be had in a VM. A property that no version of the specification has is
 * ignored, as that demands ("Extensibility"), with a warning in the log.
 */
int spec_fields_check(json_t *config, struct error *err);

#endif
