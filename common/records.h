/*
 * State written to a file: a header with version and checksum, then records, each a tag, the number
 * of the thing it belongs to (a vCPU, a device), and bytes of plain data. What is read back is
 * checked as a whole before any record is handed out: a file that was cut, altered or made by
 * another version is refused.
 */
#ifndef COMMON_RECORDS_H
#define COMMON_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define RECORDS_SIZE_MAX (16u << 20) /* bytes of a file */

/* Zeroed is empty. */
struct records {
	uint8_t *bytes; /* header and records; owned */
	size_t len;
	size_t size; /* allocated */
	int failed;  /* negative errno of the first record that could not be put */
};

void records_destroy(struct records *records);

/* Appends a record. A failure is kept and told by records_write. */
void records_put(struct records *records, uint32_t tag, uint32_t number, const void *data,
		 size_t len);

/* Completes the header with this version and writes all to fd, from its beginning. */
int records_write(struct records *records, uint32_t version, int fd, struct error *err);

/* Reads and checks a whole file. records is empty afterwards when that fails. */
int records_read(struct records *records, uint32_t version, int fd, struct error *err);

/* The same from memory, which is copied: for tests and the fuzzer. */
int records_parse(struct records *records, uint32_t version, const void *bytes, size_t len,
		  struct error *err);

/*
 * The header's sum of what follows it: FNV-1a over words. It is against accidents; who may write
 * the file may also make it right, as the fuzzer does.
 */
uint64_t records_sum(const uint8_t *bytes, size_t len);

/* The first record of this tag and number: its data inside of records, or NULL. */
const void *records_find(const struct records *records, uint32_t tag, uint32_t number, size_t *len);

/* Copies a record that must have exactly this length. Returns 0, -ENOENT or -EPROTO. */
int records_get(const struct records *records, uint32_t tag, uint32_t number, void *data,
		size_t len);

#endif
