#include "runtime/layer_entry.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ENTRY_MAX   65536
#define EROFS_SUPER 1024
#define EROFS_MAGIC 0xe0f5e1e2u

static json_int_t nanoseconds(const struct timespec *time)
{
	return (json_int_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

/* What changes when anybody writes to the file, or puts another in its place. */
static json_t *fingerprint(const struct stat *st)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "size", (json_int_t)st->st_size, "inode",
			 (json_int_t)st->st_ino, "mtime", nanoseconds(&st->st_mtim), "ctime",
			 nanoseconds(&st->st_ctim));
}

static int write_document(int dir_fd, json_t *document, struct error *err)
{
	cleanup_free char *text = json_dumps(document, JSON_INDENT(2));

	return text ? file_replace(dir_fd, ENTRY_FILE, 0600, text, strlen(text), err)
		    : error_set(err, ENOMEM, "write " ENTRY_FILE);
}

int entry_write(int dir_fd, int fd, const char *source, const struct layer_seal *seal,
		struct error *err)
{
	char digest[DIGEST_HEX + 1];
	json_t *document;
	struct stat st;
	int ret = digest_file(fd, digest, NULL);

	if (ret < 0 || fstat(fd, &st) < 0)
		return error_set(err, ret < 0 ? -ret : errno, "read it");
	document = json_pack("{s:s, s:I, s:s, s:o}", "source", source, "made",
			     (json_int_t)time(NULL), "sha256", digest, "file", fingerprint(&st));
	if (document && seal->data_blocks)
		json_object_set_new(document, "seal",
				    json_pack("{s:s, s:s, s:I}", "rootHash", seal->root_hash,
					      "salt", seal->salt, "dataBlocks",
					      (json_int_t)seal->data_blocks));
	ret = document ? write_document(dir_fd, document, err)
		       : error_set(err, ENOMEM, "write " ENTRY_FILE);
	json_decref(document);
	return ret;
}

static json_t *read_document(int dir_fd, struct error *err)
{
	cleanup_free char *text = NULL;
	ssize_t len = file_read(dir_fd, ENTRY_FILE, ENTRY_MAX, &text, err);
	json_t *document = len < 0 ? NULL : json_loadb(text, (size_t)len, 0, NULL);

	if (len >= 0 && !document)
		error_say(err, EUCLEAN, ENTRY_FILE " is damaged");
	return document;
}

static void read_seal(const json_t *document, struct layer_seal *seal)
{
	const json_t *from = json_object_get(document, "seal");
	const char *root_hash = json_string_value(json_object_get(from, "rootHash"));
	const char *salt = json_string_value(json_object_get(from, "salt"));

	*seal = (struct layer_seal){0};
	if (!root_hash || !salt)
		return;
	snprintf(seal->root_hash, sizeof(seal->root_hash), "%s", root_hash);
	snprintf(seal->salt, sizeof(seal->salt), "%s", salt);
	seal->data_blocks = (uint64_t)json_integer_value(json_object_get(from, "dataBlocks"));
}

static int check_digest(const json_t *document, int fd, struct error *err)
{
	const char *known = json_string_value(json_object_get(document, "sha256"));
	char digest[DIGEST_HEX + 1];
	int ret = digest_file(fd, digest, NULL);

	if (ret < 0)
		return error_set(err, -ret, "read the image");
	if (!known || strcmp(known, digest) != 0)
		return error_say(err, EUCLEAN, "the image is not what was made");
	return 0;
}

/* A file system of the kind, that is not longer than the file. */
static int check_superblock(int fd, uint64_t size, struct error *err)
{
	uint32_t magic = 0;

	if (size < EROFS_SUPER + 128 || size % 4096 ||
	    pread(fd, &magic, sizeof(magic), EROFS_SUPER) != sizeof(magic) ||
	    le32toh(magic) != EROFS_MAGIC)
		return error_say(err, EUCLEAN, "the image is no EROFS");
	return 0;
}

/*
 * Equal times and inode mean that nobody wrote to the file. Else it may still be right (a cache
 * that was moved to another disk): then the whole of it is read, and noted anew.
 */
static int check_document(int dir_fd, int fd, json_t *document, const struct stat *st,
			  struct error *err)
{
	json_t *now = fingerprint(st);
	int ret = 0;

	if (!json_equal(json_object_get(document, "file"), now)) {
		ret = check_digest(document, fd, err);
		if (ret == 0) {
			json_object_set(document, "file", now);
			write_document(dir_fd, document, NULL);
		}
	}
	json_decref(now);
	return ret;
}

int entry_check(int dir_fd, int fd, struct layer *layer, struct error *err)
{
	json_t *document = read_document(dir_fd, err);
	struct stat st;
	int ret;

	if (!document)
		return -EUCLEAN;
	ret = fstat(fd, &st) < 0 ? error_set(err, errno, "stat") : 0;
	if (ret == 0)
		ret = check_document(dir_fd, fd, document, &st, err);
	if (ret == 0)
		ret = check_superblock(fd, (uint64_t)st.st_size, err);
	layer->size = (uint64_t)st.st_size;
	read_seal(document, &layer->seal);
	json_decref(document);
	return ret;
}

int entry_verify(int dir_fd, int fd, struct error *err)
{
	json_t *document = read_document(dir_fd, err);
	int ret = document ? check_digest(document, fd, err) : -EUCLEAN;

	json_decref(document);
	return ret;
}

char *entry_source(int dir_fd, struct layer_seal *seal)
{
	json_t *document = read_document(dir_fd, NULL);
	const char *source = json_string_value(json_object_get(document, "source"));
	char *copy = source ? strdup(source) : NULL;

	read_seal(document, seal);
	json_decref(document);
	return copy;
}
