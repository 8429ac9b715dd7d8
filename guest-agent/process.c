#include "guest-agent/process.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/accounts.h"
#include "guest-agent/capabilities.h"
#include "guest-agent/path.h"
#include "guest-agent/spec.h"

static int groups_parse(const json_t *user, struct process_user *out, struct error *err)
{
	const json_t *groups = NULL;
	int ret = spec_array(user, "process.user", "additionalGids", &groups, err);

	if (ret <= 0)
		return ret;
	out->groups = calloc(json_array_size(groups) + 1, sizeof(*out->groups));
	if (!out->groups)
		return error_set(err, ENOMEM, "process.user.additionalGids");
	for (size_t i = 0; i < json_array_size(groups); i++) {
		const json_t *gid = json_array_get(groups, i);
		long long value = json_integer_value(gid);

		if (!json_is_integer(gid) || value < 0 || value >= UINT32_MAX)
			return error_say(err, EINVAL,
					 "process.user.additionalGids[%zu]: must be a group id", i);
		out->groups[out->group_count++] = (gid_t)value;
	}
	return 0;
}

/*
 * "account" is bulkhead launch's, which cannot know the image's numbers; where there is a uid, as
 * the specification demands, it means nothing.
 */
static int name_parse(const json_t *user, struct process_user *out, struct error *err)
{
	const char *name = json_string_value(json_object_get(user, "account"));
	struct account account;
	int ret;

	if (!name || json_object_get(user, "uid"))
		return 0;
	ret = account_find(name, &account, err);
	free(out->groups);
	out->groups = account.groups;
	out->group_count = account.group_count;
	out->uid = account.uid;
	out->gid = account.gid;
	return ret;
}

int process_user_parse(const json_t *process, struct process_user *out, struct error *err)
{
	static const char where[] = "process.user";
	long long uid = 0, gid = 0, mask = 0022;
	const json_t *user = NULL;
	int ret;

	if ((ret = spec_object(process, "process", "user", &user, err)) < 0 ||
	    (ret = spec_int(user, where, "uid", 0, UINT32_MAX - 1, &uid, err)) < 0 ||
	    (ret = spec_int(user, where, "gid", 0, UINT32_MAX - 1, &gid, err)) < 0 ||
	    (ret = spec_int(user, where, "umask", 0, 0777, &mask, err)) < 0 ||
	    (ret = groups_parse(user, out, err)) < 0)
		return ret;
	out->uid = (uid_t)uid;
	out->gid = (gid_t)gid;
	out->umask = (mode_t)mask;
	return name_parse(user, out, err);
}

int process_set_oom(const json_t *process, struct error *err)
{
	long long score = 0;
	char text[16];
	int ret = spec_int(process, "process", "oomScoreAdj", -1000, 1000, &score, err);

	if (ret < 0)
		return ret;
	/* Always written: the agent's own -1000 is inherited. */
	snprintf(text, sizeof(text), "%lld", score);
	ret = path_write("/proc/self/oom_score_adj", text);
	return ret < 0 ? error_set(err, -ret, "write oom_score_adj") : 0;
}

static const struct {
	const char *name;
	int resource;
} limit_names[] = {
	{"RLIMIT_AS", RLIMIT_AS},
	{"RLIMIT_CORE", RLIMIT_CORE},
	{"RLIMIT_CPU", RLIMIT_CPU},
	{"RLIMIT_DATA", RLIMIT_DATA},
	{"RLIMIT_FSIZE", RLIMIT_FSIZE},
	{"RLIMIT_LOCKS", RLIMIT_LOCKS},
	{"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
	{"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
	{"RLIMIT_NICE", RLIMIT_NICE},
	{"RLIMIT_NOFILE", RLIMIT_NOFILE},
	{"RLIMIT_NPROC", RLIMIT_NPROC},
	{"RLIMIT_RSS", RLIMIT_RSS},
	{"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
	{"RLIMIT_RTTIME", RLIMIT_RTTIME},
	{"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
	{"RLIMIT_STACK", RLIMIT_STACK},
};

static int limit_number(const char *name)
{
	for (size_t i = 0; i < sizeof(limit_names) / sizeof(limit_names[0]); i++)
		if (!strcmp(limit_names[i].name, name))
			return limit_names[i].resource;
	return -EINVAL;
}

/*
 * uint64 in the OCI documents, where 2^64-1 means no limit; JSON integers here are signed, and a
 * reader that met a larger one has made it a real.
 */
static int limit_value(const json_t *limit, const char *where, const char *key, rlim_t *out,
		       struct error *err)
{
	const json_t *value = json_object_get(limit, key);

	if (json_is_real(value) && json_real_value(value) >= (double)LLONG_MAX)
		*out = RLIM_INFINITY;
	else if (json_is_integer(value))
		*out = (rlim_t)json_integer_value(value);
	else
		return error_say(err, EINVAL, "%s.%s: must be an integer", where, key);
	return 0;
}

static int set_limit(const json_t *limit, size_t i, struct error *err)
{
	struct rlimit value;
	const char *name = "";
	char where[48];
	int ret, resource;

	snprintf(where, sizeof(where), "process.rlimits[%zu]", i);
	if ((ret = spec_string(limit, where, "type", &name, err)) < 0 ||
	    (ret = limit_value(limit, where, "soft", &value.rlim_cur, err)) < 0 ||
	    (ret = limit_value(limit, where, "hard", &value.rlim_max, err)) < 0)
		return ret;
	resource = limit_number(name);
	if (resource < 0)
		return error_say(err, EINVAL, "%s.type: unknown limit \"%s\"", where, name);
	if (setrlimit((__rlimit_resource_t)resource, &value) < 0)
		return error_set(err, errno, "error setting rlimit %s", name);
	return 0;
}

int process_set_limits(const json_t *process, struct error *err)
{
	const json_t *limits = NULL, *limit;
	int ret = spec_array(process, "process", "rlimits", &limits, err);

	for (size_t i = 0; ret >= 0 && i < json_array_size(limits); i++) {
		ret = spec_element(limits, "process.rlimits", i, &limit, err);
		if (ret >= 0)
			ret = set_limit(limit, i, err);
	}
	return ret < 0 ? ret : 0;
}

int process_set_no_new_privileges(const json_t *process, struct error *err)
{
	bool wanted = false;
	int ret = spec_bool(process, "process", "noNewPrivileges", &wanted, err);

	if (ret < 0 || !wanted)
		return ret < 0 ? ret : 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_set(err, errno, "set no_new_privs");
	return 1;
}

/* Pipes and the terminal are made as root; the user must be able to open /dev/stdout again. */
static void own_stdio(const struct process_user *user)
{
	struct stat st;

	for (int fd = 0; fd < 3; fd++)
		if (!fstat(fd, &st) && st.st_uid != user->uid &&
		    !(S_ISCHR(st.st_mode) && !isatty(fd)) && fchown(fd, user->uid, st.st_gid) < 0)
			continue; /* in a user namespace it may be nobody's; writing still works */
}

static int set_ids(const struct process_user *user, struct error *err)
{
	if (setgroups(user->group_count, user->groups) < 0)
		return error_set(err, errno, "setgroups");
	if (setresgid(user->gid, user->gid, user->gid) < 0)
		return error_set(err, errno, "setgid %u", user->gid);
	if (setresuid(user->uid, user->uid, user->uid) < 0)
		return error_set(err, errno, "setuid %u", user->uid);
	return 0;
}

/* As Go's errors read, which is what engines look for. */
static int cwd_error(struct error *err, int code, const char *cwd)
{
	const char *text = code == ENOENT    ? "no such file or directory"
			   : code == EACCES  ? "permission denied"
			   : code == ENOTDIR ? "not a directory"
					     : strerror(code);

	return error_say(err, code, "chdir to cwd (\"%s\") set in config.json failed: %s", cwd,
			 text);
}

/*
 * The first chdir was root's, whom /proc would let into the agent's root too where the container
 * shares its pid namespace. What is not below the container's root has no path in it.
 */
static int check_cwd(const char *cwd, struct error *err)
{
	char path[PATH_MAX];

	if (syscall(SYS_getcwd, path, sizeof(path)) > 0 && *path != '/')
		return cwd_error(err, EPERM, cwd);
	return 0;
}

int process_become_user(const json_t *process, const struct process_user *user, struct error *err)
{
	struct capability_sets sets = {0};
	const char *cwd = "/";
	int ret, there;

	if ((ret = spec_string(process, "process", "cwd", &cwd, err)) < 0 ||
	    (ret = capabilities_parse(process, &sets, err)) < 0 ||
	    (ret = capabilities_bound(&sets, err)) < 0)
		return ret;
	/* root may enter what the user may not, and the other way round on a network share */
	there = chdir(cwd) < 0 ? errno : 0;
	own_stdio(user);
	umask(user->umask);
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return error_set(err, errno, "keep capabilities");
	if ((ret = set_ids(user, err)) < 0)
		return ret;
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return error_set(err, errno, "keep capabilities no longer");
	if (there && chdir(cwd) < 0)
		return cwd_error(err, errno, cwd);
	if ((ret = check_cwd(cwd, err)) < 0)
		return ret;
	return capabilities_apply(&sets, err);
}

static int filter_parse(const json_t *filter, struct sock_filter *out, struct error *err)
{
	for (size_t i = 0; i < json_array_size(filter); i++) {
		const json_t *row = json_array_get(filter, i);
		long long v[4];

		for (size_t k = 0; k < 4; k++) {
			const json_t *cell = json_array_get(row, k);

			v[k] = json_integer_value(cell);
			if (!json_is_integer(cell) || v[k] < 0 ||
			    v[k] > (k == 0   ? UINT16_MAX
				    : k == 3 ? UINT32_MAX
					     : UINT8_MAX))
				return error_say(err, EINVAL,
						 "seccomp.filter[%zu]: must be [code, jt, jf, k]",
						 i);
		}
		out[i] = (struct sock_filter){(uint16_t)v[0], (uint8_t)v[1], (uint8_t)v[2],
					      (uint32_t)v[3]};
	}
	return 0;
}

int process_install_seccomp(const json_t *seccomp, struct error *err)
{
	cleanup_free struct sock_filter *filter = NULL;
	const json_t *rows = NULL;
	struct sock_fprog program;
	long long flags = 0;
	int ret;

	if (!seccomp)
		return 0;
	if ((ret = spec_int(seccomp, "seccomp", "flags", 0, UINT32_MAX, &flags, err)) < 0 ||
	    (ret = spec_array(seccomp, "seccomp", "filter", &rows, err)) < 0)
		return ret;
	if (!json_array_size(rows) || json_array_size(rows) > BPF_MAXINSNS)
		return error_say(err, EINVAL, "seccomp.filter: must have 1 to %d instructions",
				 BPF_MAXINSNS);
	filter = calloc(json_array_size(rows), sizeof(*filter));
	if (!filter)
		return error_set(err, ENOMEM, "seccomp.filter");
	if ((ret = filter_parse(rows, filter, err)) < 0)
		return ret;
	program.len = (unsigned short)json_array_size(rows);
	program.filter = filter;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) < 0)
		return error_set(err, errno, "error loading seccomp filter into kernel");
	return 0;
}
