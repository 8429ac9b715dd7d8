/* Checks a config.json before anything is made of it. */
#ifndef RUNTIME_SPEC_CHECK_H
#define RUNTIME_SPEC_CHECK_H

#include "common/error.h"

#include <jansson.h>

/*
 * Types, required fields, the version, and what bulkhead refuses. The message names the field:
 * "process.args[0]: must be a string, is an integer".
 */
int spec_check(json_t *config, struct error *err);

/* The same for linux.resources alone, as update has it. */
int spec_check_resources(json_t *resources, struct error *err);

/* The same for a process alone, as exec has it. */
int spec_check_process(json_t *process, struct error *err);

/* The same for annotations, which say how the rest of a config is to be taken. */
int spec_check_annotations(json_t *config, struct error *err);

#endif
