/* Processes as ps(1) prints them, with ps's own names of columns and options. */
#ifndef RUNTIME_PS_TABLE_H
#define RUNTIME_PS_TABLE_H

#include "common/error.h"
#include "protocol/ps.h"

#include <stdbool.h>

#define PS_COLUMNS_MAX 32

struct ps_column;

struct ps_format {
	const struct ps_column *columns[PS_COLUMNS_MAX];
	const char *titles[PS_COLUMNS_MAX]; /* NULL: the column's own */
	int count;
	bool bsd;	   /* options of BSD's, whose columns differ where none are named */
	bool needs_memory; /* the guest's size, for a percentage */
};

/* From ps's options, none of which means -ef. What is not known is refused in one line. */
int ps_format_parse(struct ps_format *format, char **options, struct error *err);

/* Prints the answer of a PS (NULL: no processes) to stdout. memory: the guest's bytes, if needed.
 */
int ps_table_print(const struct ps_format *format, const struct proto_frame *answer,
		   uint64_t memory, struct error *err);

#endif
