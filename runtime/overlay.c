#include "runtime/overlay.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOUNTINFO_MAX (16u << 20)

/* The kernel's escapes (seq_escape): a backslash and three octal digits. In place. */
static void unescape_octal(char *text)
{
	char *to = text;

	for (const char *c = text; *c; c++) {
		if (c[0] == '\\' && c[1] >= '0' && c[1] <= '3' && c[2] >= '0' && c[2] <= '7' &&
		    c[3] >= '0' && c[3] <= '7') {
			*to++ = (char)((c[1] - '0') << 6 | (c[2] - '0') << 3 | (c[3] - '0'));
			c += 3;
		} else {
			*to++ = *c;
		}
	}
	*to = '\0';
}

/* overlayfs's own: a backslash takes the next character as it is. In place. */
static void unescape_plain(char *text)
{
	char *to = text;

	for (const char *c = text; *c; c++) {
		if (*c == '\\' && c[1])
			c++;
		*to++ = *c;
	}
	*to = '\0';
}

static int add_lower(struct overlay *overlay, const char *path, size_t len)
{
	char **more = realloc(overlay->lower, (overlay->count + 1) * sizeof(*more));
	char *copy = strndup(path, len);

	if (more)
		overlay->lower = more;
	if (!more || !copy) {
		free(copy);
		return -ENOMEM;
	}
	unescape_plain(copy);
	more[overlay->count++] = copy;
	return 1;
}

/* "a:b:c", with "\:" for a colon in a name; "::" begins data-only layers. */
static int parse_lowers(struct overlay *overlay, const char *text)
{
	while (*text) {
		size_t len = 0;
		int ret;

		while (text[len] && text[len] != ':')
			len += text[len] == '\\' && text[len + 1] ? 2 : 1;
		if (len == 0)
			return 0;
		ret = add_lower(overlay, text, len);
		if (ret < 0)
			return ret;
		text += len;
		if (*text == ':' && !*++text)
			return 0;
	}
	return 1;
}

static bool is_on(const char *value)
{
	return value && !strcmp(value, "on");
}

static int take_path(char **path, char *value)
{
	unescape_plain(value);
	free(*path);
	*path = strdup(value);
	return *path ? 1 : -ENOMEM;
}

static int parse_option(struct overlay *overlay, const char *name, char *value)
{
	if (value)
		unescape_octal(value);
	if (!strcmp(name, "lowerdir") && value)
		return parse_lowers(overlay, value);
	/* One layer each, when they were given by fsconfig(2). */
	if (!strcmp(name, "lowerdir+") && value)
		return add_lower(overlay, value, strlen(value));
	if (!strcmp(name, "datadir+"))
		return 0;
	if (!strcmp(name, "upperdir") && value)
		return take_path(&overlay->upper, value);
	if (!strcmp(name, "workdir") && value)
		return take_path(&overlay->work, value);
	overlay->metacopy |= !strcmp(name, "metacopy") && is_on(value);
	overlay->userxattr |= !strcmp(name, "userxattr");
	return 1;
}

/* A comma in a value is escaped, so each one here ends an option. */
static int parse_options(struct overlay *overlay, char *options)
{
	char *option;

	while ((option = strsep(&options, ",")) != NULL) {
		char *value = strchr(option, '=');
		int ret;

		if (value)
			*value++ = '\0';
		ret = parse_option(overlay, option, value);
		if (ret <= 0)
			return ret;
	}
	return overlay->count > 0;
}

/* proc(5): id parent dev root mount-point options [tags]... - type source super-options */
static int parse_line(char *line, uint64_t mount_id, struct overlay *out, bool *found)
{
	char *fields[5], *end;
	char *type;

	for (int i = 0; i < 5; i++) {
		fields[i] = strsep(&line, " ");
		if (!fields[i])
			return 0;
	}
	if (strtoull(fields[0], &end, 10) != mount_id || *end)
		return 0;
	*found = true;
	line = line ? strstr(line, " - ") : NULL;
	if (!line)
		return 0;
	line += 3;
	type = strsep(&line, " ");
	if (strcmp(type, "overlay") != 0 || strcmp(fields[3], "/") != 0 || !strsep(&line, " ") ||
	    !line)
		return 0;
	unescape_octal(fields[4]);
	out->mount_point = strdup(fields[4]);
	return out->mount_point ? parse_options(out, line) : -ENOMEM;
}

int overlay_parse(const char *mountinfo, uint64_t mount_id, struct overlay *out)
{
	cleanup_free char *copy = strdup(mountinfo);
	char *rest = copy, *line;
	bool found = false;
	int ret = 0;

	*out = (struct overlay){0};
	if (!copy)
		return -ENOMEM;
	while (!found && ret == 0 && (line = strsep(&rest, "\n")) != NULL)
		ret = parse_line(line, mount_id, out, &found);
	if (ret <= 0)
		overlay_destroy(out);
	return ret;
}

int overlay_find(int root_fd, struct overlay *out, struct error *err)
{
	cleanup_free char *text = NULL;
	struct statx st;
	ssize_t len;
	int ret;

	*out = (struct overlay){0};
	if (statx(root_fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0)
		return error_set(err, errno, "root.path: stat");
	if (!(st.stx_mask & STATX_MNT_ID) ||
	    !(st.stx_attributes & st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT))
		return 0;
	len = file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, err);
	if (len < 0)
		return (int)len;
	ret = overlay_parse(text, st.stx_mnt_id, out);
	return ret < 0 ? error_set(err, -ret, "/proc/self/mountinfo") : ret;
}

int overlay_open(const struct overlay *overlay, const char *path)
{
	cleanup_free char *full = NULL;
	int fd;

	if (*path == '/')
		full = strdup(path);
	else /* podman and docker: HOME/ID/merged is the mount point, HOME the base. */
		full = format("%s/../../%s", overlay->mount_point, path);
	if (!full)
		return -ENOMEM;
	fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void overlay_destroy(struct overlay *overlay)
{
	for (size_t i = 0; i < overlay->count; i++)
		free(overlay->lower[i]);
	free(overlay->lower);
	free(overlay->upper);
	free(overlay->work);
	free(overlay->mount_point);
	*overlay = (struct overlay){0};
}
