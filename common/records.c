#include "common/records.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/whole.h"

#define MAGIC "BLKSTATE"

/* Host order: such a file never leaves the machine, or it is of no use. */
struct file_header {
	char magic[8];
	uint32_t version;
	uint32_t reserved;
	uint64_t len; /* of the whole file */
	uint64_t sum; /* of all that follows */
};

struct record_header {
	uint32_t tag;
	uint32_t number;
	uint32_t len; /* of the data; the next record begins at a multiple of 8 */
	uint32_t reserved;
};

static size_t padded(size_t len)
{
	return (len + 7) & ~(size_t)7;
}

uint64_t records_sum(const uint8_t *bytes, size_t len)
{
	uint64_t sum = 0xcbf29ce484222325ull;

	for (size_t i = 0; i + 8 <= len; i += 8) {
		uint64_t word;

		memcpy(&word, bytes + i, sizeof(word));
		sum = (sum ^ word) * 0x100000001b3ull;
		sum ^= sum >> 29;
	}
	return sum;
}

void records_destroy(struct records *records)
{
	free(records->bytes);
	*records = (struct records){0};
}

/* Room for len more bytes; the first time for the header too. NULL, and failed, without. */
static uint8_t *reserve(struct records *records, size_t len)
{
	size_t used = records->len ? records->len : sizeof(struct file_header);

	if (len > RECORDS_SIZE_MAX - used) {
		records->failed = -EFBIG;
		return NULL;
	}
	if (used + len > records->size) {
		size_t size = records->size ? records->size : 16384;
		uint8_t *bytes;

		while (size < used + len)
			size *= 2;
		bytes = realloc(records->bytes, size);
		if (!bytes) {
			records->failed = -ENOMEM;
			return NULL;
		}
		records->bytes = bytes;
		records->size = size;
	}
	records->len = used + len;
	return records->bytes + used;
}

void records_put(struct records *records, uint32_t tag, uint32_t number, const void *data,
		 size_t len)
{
	struct record_header header = {.tag = tag, .number = number, .len = (uint32_t)len};
	uint8_t *at;

	if (records->failed)
		return;
	if (len > RECORDS_SIZE_MAX) {
		records->failed = -EFBIG;
		return;
	}
	at = reserve(records, sizeof(header) + padded(len));
	if (!at)
		return;
	memcpy(at, &header, sizeof(header));
	if (len)
		memcpy(at + sizeof(header), data, len);
	memset(at + sizeof(header) + len, 0, padded(len) - len);
}

int records_write(struct records *records, uint32_t version, int fd, struct error *err)
{
	struct file_header header = {.magic = MAGIC, .version = version, .len = records->len};
	int ret;

	if (records->failed || !records->len)
		return error_set(err, records->failed ? -records->failed : ENODATA, "state");
	header.sum = records_sum(records->bytes + sizeof(header), records->len - sizeof(header));
	memcpy(records->bytes, &header, sizeof(header));
	ret = pwrite_all(fd, records->bytes, records->len, 0);
	return ret < 0 ? error_set(err, -ret, "write state") : 0;
}

/* Whether the records fill the file exactly. */
static int check_records(const uint8_t *bytes, size_t len)
{
	struct record_header record;
	size_t at = sizeof(struct file_header);

	while (at < len) {
		if (len - at < sizeof(record))
			return -EPROTO;
		memcpy(&record, bytes + at, sizeof(record));
		at += sizeof(record);
		if (record.reserved || record.len > len - at || padded(record.len) > len - at)
			return -EPROTO;
		at += padded(record.len);
	}
	return 0;
}

static int check(const struct records *records, uint32_t version, struct error *err)
{
	struct file_header header;

	if (records->len < sizeof(header))
		return error_say(err, EPROTO, "the state is cut short");
	memcpy(&header, records->bytes, sizeof(header));
	if (memcmp(header.magic, MAGIC, sizeof(header.magic)) != 0)
		return error_say(err, EPROTO, "this is no saved state");
	if (header.version != version)
		return error_say(err, EPROTO, "the state is of version %u, not %u", header.version,
				 version);
	if (header.len != records->len)
		return error_say(err, EPROTO, "the state is cut short");
	if (header.sum !=
	    records_sum(records->bytes + sizeof(header), records->len - sizeof(header)))
		return error_say(err, EPROTO, "the state was altered");
	if (check_records(records->bytes, records->len) < 0)
		return error_say(err, EPROTO, "the state makes no sense");
	return 0;
}

static int take(struct records *records, size_t len, struct error *err)
{
	if (len > RECORDS_SIZE_MAX)
		return error_say(err, EFBIG, "the state is too large");
	*records = (struct records){.bytes = malloc(len ? len : 1), .len = len, .size = len};
	return records->bytes ? 0 : error_set(err, ENOMEM, "state");
}

int records_parse(struct records *records, uint32_t version, const void *bytes, size_t len,
		  struct error *err)
{
	int ret;

	*records = (struct records){0};
	ret = take(records, len, err);
	if (ret < 0)
		return ret;
	if (len)
		memcpy(records->bytes, bytes, len);
	ret = check(records, version, err);
	if (ret < 0)
		records_destroy(records);
	return ret;
}

int records_read(struct records *records, uint32_t version, int fd, struct error *err)
{
	struct stat st;
	int ret;

	*records = (struct records){0};
	if (fstat(fd, &st) < 0)
		return error_set(err, errno, "stat state");
	if (!S_ISREG(st.st_mode))
		return error_say(err, EPROTO, "the state is not a regular file");
	ret = take(records, (size_t)st.st_size, err);
	if (ret < 0)
		return ret;
	if (pread_all(fd, records->bytes, records->len, 0) != (ssize_t)records->len)
		ret = error_say(err, EIO, "the state cannot be read");
	else
		ret = check(records, version, err);
	if (ret < 0)
		records_destroy(records);
	return ret;
}

const void *records_find(const struct records *records, uint32_t tag, uint32_t number, size_t *len)
{
	size_t at = sizeof(struct file_header);

	while (at < records->len) {
		struct record_header record;

		memcpy(&record, records->bytes + at, sizeof(record));
		at += sizeof(record);
		if (record.tag == tag && record.number == number) {
			*len = record.len;
			return records->bytes + at;
		}
		at += padded(record.len);
	}
	return NULL;
}

int records_get(const struct records *records, uint32_t tag, uint32_t number, void *data,
		size_t len)
{
	size_t found;
	const void *from = records_find(records, tag, number, &found);

	if (!from)
		return -ENOENT;
	if (found != len)
		return -EPROTO;
	memcpy(data, from, len);
	return 0;
}
