#include "guest-agent/priority.h"

#include <linux/ioprio.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest-agent/spec.h"

struct name {
	const char *name;
	unsigned int value;
};

static int find(const struct name *names, const char *wanted, unsigned int *value)
{
	for (; names->name; names++) {
		if (strcmp(names->name, wanted) != 0)
			continue;
		*value = names->value;
		return 0;
	}
	return -EINVAL;
}

static int set_io(const json_t *process, struct error *err)
{
	static const char where[] = "process.ioPriority";
	static const struct name classes[] = {
		{"IOPRIO_CLASS_RT", IOPRIO_CLASS_RT},
		{"IOPRIO_CLASS_BE", IOPRIO_CLASS_BE},
		{"IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE},
		{NULL, 0},
	};
	const json_t *object = NULL;
	const char *class = "";
	long long priority = 0;
	unsigned int value;
	int ret = spec_object(process, "process", "ioPriority", &object, err);

	if (ret <= 0)
		return ret;
	if ((ret = spec_string(object, where, "class", &class, err)) < 0 ||
	    (ret = spec_int(object, where, "priority", 0, 7, &priority, err)) < 0)
		return ret;
	if (find(classes, class, &value) < 0)
		return error_say(err, EINVAL, "%s.class: unknown class \"%s\"", where, class);
	if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
		    IOPRIO_PRIO_VALUE(value, (unsigned int)priority)) < 0)
		return error_set(err, errno, "%s", where);
	return 0;
}

static int parse_flags(const json_t *object, uint64_t *flags, struct error *err)
{
	static const struct name names[] = {
		{"SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK},
		{"SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM},
		{"SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN},
		{"SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY},
		{"SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS},
		{"SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_CLAMP_MIN},
		{"SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_CLAMP_MAX},
		{NULL, 0},
	};
	const json_t *list = NULL;
	int ret = spec_array(object, "process.scheduler", "flags", &list, err);

	for (size_t i = 0; ret > 0 && i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));
		unsigned int value;

		if (!text || find(names, text, &value) < 0)
			return error_say(err, EINVAL,
					 "process.scheduler.flags[%zu]: unknown flag \"%s\"", i,
					 text ? text : "");
		*flags |= value;
	}
	return ret < 0 ? ret : 0;
}

static int set_scheduler(const json_t *process, struct error *err)
{
	static const char where[] = "process.scheduler";
	static const struct name policies[] = {
		{"SCHED_OTHER", SCHED_NORMAL},
		{"SCHED_FIFO", SCHED_FIFO},
		{"SCHED_RR", SCHED_RR},
		{"SCHED_BATCH", SCHED_BATCH},

		{"SCHED_IDLE", SCHED_IDLE},
		{"SCHED_DEADLINE", SCHED_DEADLINE},
		{NULL, 0},
	};
	struct sched_attr attr = {.size = sizeof(attr)};
	long long nice = 0, priority = 0, runtime = 0, deadline = 0, period = 0;
	const json_t *object = NULL;
	const char *policy = "";
	uint64_t flags = 0;
	int ret = spec_object(process, "process", "scheduler", &object, err);

	if (ret <= 0)
		return ret;
	if ((ret = spec_string(object, where, "policy", &policy, err)) < 0 ||
	    (ret = spec_int(object, where, "nice", -20, 19, &nice, err)) < 0 ||
	    (ret = spec_int(object, where, "priority", 0, 99, &priority, err)) < 0 ||
	    (ret = spec_int(object, where, "runtime", 0, LLONG_MAX, &runtime, err)) < 0 ||
	    (ret = spec_int(object, where, "deadline", 0, LLONG_MAX, &deadline, err)) < 0 ||
	    (ret = spec_int(object, where, "period", 0, LLONG_MAX, &period, err)) < 0 ||
	    (ret = parse_flags(object, &flags, err)) < 0)
		return ret;
	if (find(policies, policy, &attr.sched_policy) < 0)
		return error_say(err, EINVAL, "%s.policy: unknown policy \"%s\"", where, policy);
	attr.sched_flags = flags;
	attr.sched_nice = (int)nice;
	attr.sched_priority = (unsigned int)priority;
	attr.sched_runtime = (uint64_t)runtime;
	attr.sched_deadline = (uint64_t)deadline;
	attr.sched_period = (uint64_t)period;
	if (syscall(SYS_sched_setattr, 0, &attr, 0) < 0)
		return error_set(err, errno, "%s", where);
	return 0;
}

static int set_personality(const json_t *config, struct error *err)
{
	static const char where[] = "config.linux.personality";
	static const struct name domains[] = {
		{"LINUX", PER_LINUX}, {"LINUX32", PER_LINUX32}, {NULL, 0}};
	const json_t *linux_ = NULL, *object = NULL;
	const char *domain = "";
	unsigned int value;
	int ret;

	if ((ret = spec_object(config, "config", "linux", &linux_, err)) <= 0 ||
	    (ret = spec_object(linux_, "config.linux", "personality", &object, err)) <= 0 ||
	    (ret = spec_string(object, where, "domain", &domain, err)) < 0)
		return ret;
	if (find(domains, domain, &value) < 0)
		return error_say(err, EINVAL, "%s.domain: unknown domain \"%s\"", where, domain);
	if (json_array_size(json_object_get(object, "flags")) > 0)
		return error_say(err, EINVAL, "%s.flags: there are none that could be set", where);
	return personality(value) < 0 ? error_set(err, errno, "%s", where) : 0;
}

int priority_set(const json_t *config, const json_t *process, struct error *err)
{
	int ret = set_io(process, err);

	if (ret >= 0)
		ret = set_scheduler(process, err);
	if (ret >= 0)
		ret = set_personality(config, err);
	return ret < 0 ? ret : 0;
}
