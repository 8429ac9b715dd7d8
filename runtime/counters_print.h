/* The VMM's counters as text. */
#ifndef RUNTIME_COUNTERS_PRINT_H
#define RUNTIME_COUNTERS_PRINT_H

#include "common/error.h"
#include "protocol/counters.h"

/* Prints to stdout. Returns 0 or a negative errno. */
typedef int counters_print_fn(const char *id, const struct proto_counters *counters,
			      struct error *err);

/* For "table", "json" or "prometheus"; NULL for another. */
counters_print_fn *counters_printer(const char *format);

#endif
