#include "guest-agent/accounts.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

#define LINES_MAX  10000
#define FIELDS_MAX 7
#define GROUPS_MAX 256

/* Called with a line's fields, "" where there are fewer. Returns whether that was enough. */
typedef bool line_fn(char **fields, void *ctx);

static FILE *open_regular(const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	FILE *file = NULL;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		file = fdopen(fd, "r");
	if (!file && fd >= 0)
		close(fd);
	return file;
}

static bool each_line(const char *path, line_fn *fn, void *ctx)
{
	cleanup_file FILE *file = open_regular(path);
	static char none[] = "";
	char line[1024];
	bool found = false;

	for (int i = 0; !found && i < LINES_MAX && file && fgets(line, sizeof(line), file); i++) {
		char *fields[FIELDS_MAX], *at = line;

		at[strcspn(at, "\n")] = '\0';
		for (int k = 0; k < FIELDS_MAX; k++) {
			char *value = strsep(&at, ":");

			fields[k] = value ? value : none;
		}
		found = fn(fields, ctx);
	}
	return found;
}

static bool parse_id(const char *text, uint32_t *out)
{
	char *end;
	unsigned long long value;

	if (*text < '0' || *text > '9')
		return false;
	value = strtoull(text, &end, 10);
	*out = (uint32_t)value;
	return !*end && value < UINT32_MAX;
}

/* --- /etc/passwd: name, password, uid, gid, comment, home, shell --- */

struct user {
	const char *name; /* NULL: by uid */
	uid_t uid;
	gid_t gid;
	char *home, *found_name; /* malloc'ed */
};

static bool is_user(char **fields, void *ctx)
{
	struct user *user = ctx;
	uint32_t uid, gid;

	if (!parse_id(fields[2], &uid) || !parse_id(fields[3], &gid))
		return false;
	if (user->name ? strcmp(fields[0], user->name) != 0 : uid != user->uid)
		return false;
	user->uid = uid;
	user->gid = gid;
	user->home = strdup(fields[5]);
	user->found_name = strdup(fields[0]);
	return true;
}

static void user_destroy(struct user *user)
{
	free(user->home);
	free(user->found_name);
}

char *account_home(uid_t uid)
{
	struct user user = {.uid = uid};
	char *home = NULL;

	if (each_line("/etc/passwd", is_user, &user) && user.home && *user.home)
		home = take_ptr(user.home);
	user_destroy(&user);
	return home;
}

/* --- /etc/group: name, password, gid, members --- */

struct group {
	const char *name;
	gid_t gid;
};

static bool is_group(char **fields, void *ctx)
{
	struct group *group = ctx;

	return strcmp(fields[0], group->name) == 0 && parse_id(fields[2], &group->gid);
}

struct membership {
	const char *user;
	struct account *account;
};

static bool add_membership(char **fields, void *ctx)
{
	struct membership *membership = ctx;
	struct account *account = membership->account;
	char *members = fields[3], *member;
	uint32_t gid;

	while ((member = strsep(&members, ",")))
		if (!strcmp(member, membership->user) && parse_id(fields[2], &gid)) {
			account->groups[account->group_count++] = gid;
			break;
		}
	return account->group_count == GROUPS_MAX;
}

static int find_user(char *name, struct account *out, char **found_name, struct error *err)
{
	struct user user = {.name = name};
	bool found;

	if (parse_id(name, &user.uid))
		user.name = NULL;
	found = each_line("/etc/passwd", is_user, &user);
	if (!found && user.name)
		return error_say(err, ENOENT,
				 "unable to find user %s: no line in /etc/passwd of the image",
				 name);
	out->uid = user.uid;
	out->gid = user.gid;
	*found_name = take_ptr(user.found_name);
	user_destroy(&user);
	return 0;
}

int account_find(const char *text, struct account *out, struct error *err)
{
	cleanup_free char *copy = strdup(text), *name = NULL;
	char *group_name = copy;
	char *user_name = copy ? strsep(&group_name, ":") : NULL;
	struct group group = {.name = group_name};
	int ret;

	memset(out, 0, sizeof(*out));
	out->groups = calloc(GROUPS_MAX, sizeof(*out->groups));
	if (!user_name || !out->groups)
		return error_set(err, ENOMEM, "user");
	ret = find_user(user_name, out, &name, err);
	if (ret < 0)
		return ret;
	if (!group_name) {
		if (name)
			each_line("/etc/group", add_membership,
				  &(struct membership){.user = name, .account = out});
		return 0;
	}
	if (!parse_id(group_name, &group.gid) && !each_line("/etc/group", is_group, &group))
		return error_say(err, ENOENT,
				 "unable to find group %s: no line in /etc/group of the image",
				 group_name);
	out->gid = group.gid;
	return 0;
}
