#include "guest-agent/user_home.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"

#define LINES_MAX 10000

/* Field i of a line of /etc/passwd, terminated in place; NULL when there are fewer. */
static char *field(char *line, int i)
{
	char *value = NULL;

	while (i-- >= 0 && line)
		value = strsep(&line, ":\n");
	return i < 0 ? value : NULL;
}

static char *home_of(char *line, uid_t uid)
{
	char *copy = strdup(line), *text, *end;
	char *home = NULL;

	text = copy ? field(copy, 2) : NULL;
	if (text && *text && strtoul(text, &end, 10) == uid && !*end)
		home = field(line, 5);
	free(copy);
	return home && *home ? strdup(home) : NULL;
}

/* The image is hostile: only a regular file, and only so much of it. */
static char *find_home(uid_t uid)
{
	int fd = open("/etc/passwd", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	cleanup_file FILE *file = NULL;
	struct stat st;
	char line[1024];
	char *home = NULL;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(file = fdopen(fd, "r"))) {
		close(fd);
		return NULL;
	}
	for (int i = 0; !home && i < LINES_MAX && fgets(line, sizeof(line), file); i++)
		home = home_of(line, uid);
	return home;
}

int user_home_add(const char ***env, uid_t uid, struct error *err)
{
	char *entry, *home;
	const char **grown;
	size_t count = 0;

	for (; (*env)[count]; count++)
		if (!strncmp((*env)[count], "HOME=", 5) && (*env)[count][5])
			return 0;
	home = find_home(uid);
	grown = realloc(*env, (count + 2) * sizeof(*grown));
	if (grown)
		*env = grown;
	if (!grown || asprintf(&entry, "HOME=%s", home ? home : "/") < 0)
		return error_set(err, ENOMEM, "set HOME");
	free(home);
	grown[count] = entry;
	grown[count + 1] = NULL;
	return 0;
}
