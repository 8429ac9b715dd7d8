/* bulkhead template: the templates there are, or none any more. */
#include "runtime/command.h"
#include "runtime/file.h"
#include "runtime/options.h"
#include "runtime/store.h"
#include "runtime/template.h"

#include "common/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct command_line command_line = {
	.arguments = "list|wait|clear",
	.about =
		"Templates are VMs that have booted already: containers start from them. They are\n"
		"made in the background when one was missing. list shows them, wait waits for those\n"
		"that are being made, clear removes all.",
	.missing = "list, wait or clear",
};

static int take(void *input, int key, char *value, struct error *err)
{
	const char **verb = input;

	(void)key;
	if (*verb)
		return options_refuse(value, err);
	*verb = value;
	return 0;
}

/* Calls fn for every folder. */
static int each(void (*fn)(int dir_fd, const char *name), struct error *err)
{
	cleanup_fd int dir_fd = template_open_dir(err);
	cleanup_fd int fd = dir_fd < 0 ? -1 : openat(dir_fd, ".", O_RDONLY | O_CLOEXEC);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!dir)
		return error_set(err, errno, "list %s/" TEMPLATES_DIR, store_path());
	take_fd(&fd);
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			fn(dir_fd, entry->d_name);
	return 0;
}

static void print(int dir_fd, const char *name)
{
	cleanup_free char *memory = format("%s/memory", name);
	cleanup_free char *path = format("%s/shape", name);
	cleanup_free char *shape = NULL;
	struct stat st;

	if (strlen(name) != TEMPLATE_NAME_LEN || !memory || !path ||
	    fstatat(dir_fd, memory, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    file_read(dir_fd, path, 8192, &shape, NULL) < 0)
		return;
	printf("%s %lld KiB %s\n", name, (long long)st.st_blocks / 2, shape);
}

/* Who makes a template holds its lock. */
static void wait_for(int dir_fd, const char *name)
{
	cleanup_fd int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		flock(fd, LOCK_EX);
}

int cmd_template(struct globals *globals, int argc, char **argv, struct error *err)
{
	const char *verb = NULL;
	int ret = options_parse(&command_line, argc, argv, take, &verb, err);

	(void)globals;
	if (ret < 0)
		return ret;
	if (!strcmp(verb, "list"))
		ret = each(print, err);
	else if (!strcmp(verb, "wait"))
		ret = each(wait_for, err);
	else if (!strcmp(verb, "clear"))
		ret = each(template_remove, err);
	else
		return error_say(err, EINVAL, "template: \"%s\" is not one of list, wait, clear",
				 verb);
	if (ret == 0 && fflush(stdout) == EOF)
		ret = error_set(err, errno, "write the list");
	return ret;
}
