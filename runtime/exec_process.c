#include "runtime/exec_process.h"
#include "runtime/bundle.h"
#include "runtime/file.h"
#include "runtime/spec_check.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <string.h>

#define FILE_MAX (1u << 20)

static json_t *load(const char *path, struct error *err)
{
	cleanup_free char *text = NULL;
	ssize_t len = file_read(AT_FDCWD, path, FILE_MAX, &text, err);
	json_error_t why;
	json_t *doc;

	if (len < 0)
		return NULL;
	doc = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES, &why);
	if (!doc)
		error_say(err, EINVAL, "%s: line %d: %s", path, why.line, why.text);
	return doc;
}

static int append(json_t *list, const char *text, struct error *err)
{
	json_t *value = json_string(text);

	if (!value)
		return error_say(err, EINVAL, "an argument is not UTF-8: %s", text);
	json_array_append_new(list, value);
	return 0;
}

/* The array of this name, made when it is not there. */
static json_t *list_of(json_t *object, const char *key)
{
	json_t *list = json_object_get(object, key);

	if (json_is_array(list))
		return list;
	list = json_array();
	json_object_set_new(object, key, list);
	return list;
}

static json_t *own_process(const char *bundle, struct error *err)
{
	cleanup_free char *path = format("%s/" CONFIG_FILE, bundle);
	json_t *config = path ? load(path, err) : NULL;
	json_t *process = json_incref(json_object_get(config, "process"));

	if (config && !process)
		error_say(err, EINVAL, "%s: process: is missing", path);
	json_decref(config);
	return process;
}

static int number(const char *text, const char *end, json_int_t *out)
{
	char *stop;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &stop, 10);
	if (errno || stop != end || stop == text || *text == '-' || value > UINT32_MAX)
		return -EINVAL;
	*out = (json_int_t)value;
	return 0;
}

static int set_user(json_t *process, const char *text, struct error *err)
{
	const char *colon = strchrnul(text, ':');
	json_int_t uid, gid = 0;

	/* Without a group it is 0, and there are no others: as runc. */
	if (number(text, colon, &uid) < 0 ||
	    (*colon && number(colon + 1, strchr(text, '\0'), &gid) < 0))
		return error_say(err, EINVAL, "--user %s: must be UID or UID:GID, in numbers",
				 text);
	return json_object_set_new(process, "user",
				   json_pack("{s:I, s:I}", "uid", uid, "gid", gid));
}

static int add_gids(json_t *process, const struct exec_list *gids, struct error *err)
{
	json_t *user = json_object_get(process, "user");
	json_t *list;

	if (!gids->count)
		return 0;
	if (!json_is_object(user)) {
		user = json_object();
		json_object_set_new(process, "user", user);
	}
	list = list_of(user, "additionalGids");
	for (int i = 0; i < gids->count; i++) {
		json_int_t gid;

		if (number(gids->at[i], strchr(gids->at[i], '\0'), &gid) < 0)
			return error_say(err, EINVAL, "--additional-gids %s: is not a number",
					 gids->at[i]);
		json_array_append_new(list, json_integer(gid));
	}
	return 0;
}

/* A user other than root keeps over its exec what is ambient, and that must be inheritable. */
static int add_caps(json_t *process, const struct exec_list *caps, struct error *err)
{
	static const char *const sets[] = {"bounding", "effective", "permitted", "inheritable",
					   "ambient"};
	bool root = !json_integer_value(json_at(process, "user", "uid", NULL));
	json_t *all = json_object_get(process, "capabilities");

	int ret = 0;

	if (!caps->count)
		return 0;
	if (!json_is_object(all)) {
		all = json_object();
		json_object_set_new(process, "capabilities", all);
	}
	for (int s = 0; s < (root ? 3 : 5); s++) {
		json_t *set = list_of(all, sets[s]);

		for (int i = 0; ret == 0 && i < caps->count; i++)
			ret = append(set, caps->at[i], err);
	}
	return ret;
}

static int add_env(json_t *process, const struct exec_list *entries, struct error *err)
{
	json_t *env = list_of(process, "env");
	int ret = 0;

	for (int i = 0; ret == 0 && i < entries->count; i++)
		ret = append(env, entries->at[i], err);
	return ret;
}

static int apply(json_t *process, const struct exec_wishes *wishes, struct error *err)
{
	json_t *args = json_array();
	int ret = 0;

	for (char **arg = wishes->args; ret == 0 && *arg; arg++)
		ret = append(args, *arg, err);
	json_object_set_new(process, "args", args);
	json_object_set_new(process, "terminal", json_boolean(wishes->tty));
	if (wishes->cwd && json_object_set_new(process, "cwd", json_string(wishes->cwd)) < 0)
		return error_say(err, EINVAL, "--cwd %s: is not UTF-8", wishes->cwd);
	if (wishes->no_new_privileges)
		json_object_set_new(process, "noNewPrivileges", json_true());
	if (ret == 0)
		ret = add_env(process, &wishes->env, err);
	if (ret == 0 && wishes->user)
		ret = set_user(process, wishes->user, err);
	if (ret == 0)
		ret = add_gids(process, &wishes->gids, err);
	return ret < 0 ? ret : add_caps(process, &wishes->caps, err);
}

int exec_process_make(json_t **out, const char *bundle, const struct exec_wishes *wishes,
		      struct error *err)
{
	json_t *process = wishes->process_file ? load(wishes->process_file, err)
					       : own_process(bundle, err);
	int ret = process ? 0 : -EINVAL;

	if (ret == 0 && !json_is_object(process))
		ret = error_say(err, EINVAL, "%s: must be an object", wishes->process_file);
	if (ret == 0 && !wishes->process_file)
		ret = apply(process, wishes, err);
	if (ret == 0)
		ret = spec_check_process(process, err);
	/* "cgroup" is between us and the agent, and unknown to the specification. */
	json_object_del(process, "cgroup");
	if (ret == 0 && wishes->cgroup &&
	    json_object_set_new(process, "cgroup", json_string(wishes->cgroup)) < 0)
		ret = error_say(err, EINVAL, "--cgroup %s: is not UTF-8", wishes->cgroup);
	if (ret < 0) {
		json_decref(process);
		return ret;
	}
	*out = process;
	return 0;
}
