#include "runtime/copies.h"
#include "runtime/file.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "protocol/base64.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

char *copy_read(int fd, size_t *len, struct error *err)
{
	cleanup_free char *path = format("/proc/self/fd/%d", fd);
	cleanup_free char *bytes = NULL;
	char *text = NULL;
	ssize_t count = -ENOMEM;

	if (path)
		count = file_read(AT_FDCWD, path, COPY_MAX, &bytes, err);
	if (count >= 0)
		text = malloc(base64_length((size_t)count) + 1);
	if (!text) {
		error_set(err, count < 0 ? (int)-count : ENOMEM, "read it");
		return NULL;
	}
	base64_encode(bytes, (size_t)count, text);
	*len = (size_t)count;
	return text;
}

static json_t *version(const struct stat *st)
{
	return json_pack("[I, I, I, I]", (json_int_t)st->st_ino, (json_int_t)st->st_size,
			 (json_int_t)st->st_mtim.tv_sec, (json_int_t)st->st_mtim.tv_nsec);
}

int copies_note(json_t *copies, size_t i, const char *source, const struct stat *st)
{
	return json_array_append_new(copies, json_pack("{s:I, s:s, s:o}", "bind", (json_int_t)i,
						       "source", source, "version", version(st)));
}

/* The copy as it is to be now; NULL when it is that already, with err when it cannot be had. */
static json_t *look(json_t *copy, struct error *err)
{
	const char *source = json_string_value(json_object_get(copy, "source"));
	cleanup_fd int fd = source ? open(source, O_PATH | O_CLOEXEC) : -1;
	cleanup_free char *text = NULL;
	json_t *now;
	struct stat st;
	size_t len;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		error_set(err, fd < 0 ? errno : EINVAL, "open it");
		return NULL;
	}
	now = version(&st);
	if (json_equal(now, json_object_get(copy, "version")) ||
	    !(text = copy_read(fd, &len, err))) {
		json_decref(now);
		return NULL;
	}
	json_object_set_new(copy, "version", now);
	return json_pack("{s:O, s:s, s:I}", "bind", json_object_get(copy, "bind"), "file", text,
			 "mtime", (json_int_t)st.st_mtime);
}

json_t *copies_changed(json_t *copies)
{
	json_t *files = json_array(), *copy;
	size_t i;

	json_array_foreach (copies, i, copy) {
		struct error err = {0};
		json_t *file = look(copy, &err);

		if (file)
			json_array_append_new(files, file);
		else if (err.code)
			log_warn("%s: the guest keeps the copy that it has: %s",
				 json_string_value(json_object_get(copy, "source")), err.message);
	}
	if (json_array_size(files))
		return files;
	json_decref(files);
	return NULL;
}
