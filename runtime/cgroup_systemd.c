/*
 * A container's group as a systemd scope, for engines that leave control groups to systemd.
 * cgroupsPath is then SLICE:PREFIX:NAME, and the scope PREFIX-NAME.scope. libsystemd is loaded when
 * it is needed: every other container starts sooner without it.
 */
#include "runtime/cgroup.h"
#include "runtime/bundle.h"
#include "runtime/file.h"
#include "runtime/user.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/unified.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <sys/vfs.h>
#include <linux/magic.h>

#define MANAGER	      "org.freedesktop.systemd1"
#define MANAGER_PATH  "/org/freedesktop/systemd1"
#define MANAGER_IFACE "org.freedesktop.systemd1.Manager"
#define JOB_LIMIT     30000 /* ms for systemd to have done what it said it would */
#define TEXT_MAX      4096

#define FUNCTIONS(_)                      \
	_(sd_bus_open_system)             \
	_(sd_bus_open_user)               \
	_(sd_bus_flush_close_unref)       \
	_(sd_bus_message_new_method_call) \
	_(sd_bus_message_append)          \
	_(sd_bus_message_open_container)  \
	_(sd_bus_message_close_container) \
	_(sd_bus_message_read)            \
	_(sd_bus_message_unref)           \
	_(sd_bus_match_signal)            \
	_(sd_bus_call)                    \
	_(sd_bus_call_method)             \
	_(sd_bus_process)                 \
	_(sd_bus_wait)                    \
	_(sd_bus_error_free)              \
	_(sd_bus_error_has_name)

static struct {
#define MEMBER(name) __typeof__(&name) name;
	FUNCTIONS(MEMBER)
} lib;

static int load_library(struct error *err)
{
	static void *handle;

	if (handle)
		return 0;
	handle = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return error_say(err, ENOENT, "systemd cgroup manager: %s", dlerror());
#define RESOLVE(name)                                       \
	lib.name = (__typeof__(&name))dlsym(handle, #name); \
	if (!lib.name)                                      \
		return error_say(err, ENOENT, "systemd cgroup manager: libsystemd has no " #name);
	FUNCTIONS(RESOLVE)
	return 0;
}

struct job {
	sd_bus *bus;
	char path[256]; /* of the job's object */
	char result[64];
	bool done;
};

/* Signals may come before the reply that names the job, so all results of then are kept. */
static int job_removed(sd_bus_message *message, void *data, sd_bus_error *error)
{
	struct job *job = data;
	const char *path, *unit, *result;
	uint32_t id;

	(void)error;
	if (lib.sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) < 0 ||
	    strcmp(path, job->path) != 0)
		return 0;
	snprintf(job->result, sizeof(job->result), "%s", result);
	job->done = true;
	return 0;
}

/* A user's groups are that user's own systemd's. */
static int connect_bus(struct job *job, struct error *err)
{
	bool system = user_is_root();
	int ret = load_library(err);

	if (ret < 0)
		return ret;
	ret = system ? lib.sd_bus_open_system(&job->bus) : lib.sd_bus_open_user(&job->bus);
	if (ret < 0)
		return error_set(err, -ret,
				 "systemd cgroup manager: connect to the %s bus (without one, use "
				 "--cgroup-manager %s)",
				 system ? "system" : "user's",
				 system ? "cgroupfs" : "disabled, or podman's cgroupfs");
	ret = lib.sd_bus_match_signal(job->bus, NULL, MANAGER, MANAGER_PATH, MANAGER_IFACE,
				      "JobRemoved", job_removed, job);
	return ret < 0 ? error_set(err, -ret, "systemd cgroup manager: watch its jobs") : 0;
}

static int wait_for_job(struct job *job, const char *unit, struct error *err)
{
	uint64_t end = monotonic_ns() + JOB_LIMIT * 1000000ull;

	while (!job->done) {
		uint64_t now = monotonic_ns();
		int ret = lib.sd_bus_process(job->bus, NULL);

		if (ret == 0)
			ret = now < end ? lib.sd_bus_wait(job->bus, (end - now) / 1000 + 1)
					: -ETIMEDOUT;
		if (ret < 0 && ret != -EINTR)
			return error_set(err, -ret, "systemd: wait for %s", unit);
	}
	if (strcmp(job->result, "done") != 0)
		return error_say(err, EIO, "systemd: the job for %s ended as \"%s\"", unit,
				 job->result);
	return 0;
}

/* Sends a call that is answered by a job, and waits for that. */
static int run_job(struct job *job, sd_bus_message *call, const char *unit, struct error *err)
{
	sd_bus_error why = SD_BUS_ERROR_NULL;
	sd_bus_message *reply = NULL;
	const char *path;
	int ret = lib.sd_bus_call(job->bus, call, JOB_LIMIT * 1000ull, &why, &reply);

	if (ret < 0)
		error_say(err, -ret, "systemd: %s: %s", unit,
			  why.message ? why.message : strerror(-ret));
	else if ((ret = lib.sd_bus_message_read(reply, "o", &path)) < 0)
		error_set(err, -ret, "systemd: %s: read the answer", unit);
	else
		snprintf(job->path, sizeof(job->path), "%s", path);
	if (lib.sd_bus_error_has_name(&why, MANAGER ".NoSuchUnit"))
		ret = -ENOENT;
	lib.sd_bus_error_free(&why);
	lib.sd_bus_message_unref(reply);
	return ret < 0 ? ret : wait_for_job(job, unit, err);
}

struct scope {
	char slice[128], prefix[64], name[256];
};

static int parse_path(struct scope *scope, const json_t *config, const char *id, struct error *err)
{
	const char *path =
		json_string_value(json_at((json_t *)config, "linux", "cgroupsPath", NULL));
	const char *first, *second;

	snprintf(scope->slice, sizeof(scope->slice), "%s",
		 user_is_root() ? "system.slice" : "user.slice");
	snprintf(scope->prefix, sizeof(scope->prefix), "bulkhead");
	snprintf(scope->name, sizeof(scope->name), "%s", id);
	if (!path || !*path)
		return 0;
	first = strchr(path, ':');
	second = first ? strchr(first + 1, ':') : NULL;
	if (!second || strchr(second + 1, ':') || strchr(path, '/'))
		return error_say(err, EINVAL,
				 "linux.cgroupsPath: \"%s\" is not SLICE:PREFIX:NAME, which the "
				 "systemd cgroup manager needs",
				 path);
	if (first > path)
		snprintf(scope->slice, sizeof(scope->slice), "%.*s", (int)(first - path), path);
	snprintf(scope->prefix, sizeof(scope->prefix), "%.*s", (int)(second - first - 1),
		 first + 1);
	snprintf(scope->name, sizeof(scope->name), "%s", second + 1);
	return 0;
}

int cgroup_name_scope(struct cgroup *cgroup, const json_t *config, const char *id,
		      struct error *err)
{
	struct scope scope;
	struct statfs fs;
	int ret = parse_path(&scope, config, id, err);

	if (ret < 0)
		return ret;
	if (statfs("/sys/fs/cgroup", &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
		return error_say(err, ENOTSUP,
				 "the systemd cgroup manager needs cgroup v2: this host has v1, "
				 "use --cgroup-manager cgroupfs");
	cgroup->unified = true;
	cgroup->scope = format("%s%s%s.scope", scope.prefix, *scope.prefix ? "-" : "", scope.name);
	return cgroup->scope ? 0 : error_set(err, ENOMEM, "linux.cgroupsPath");
}

static sd_bus_message *make_call(struct job *job, const char *method)
{
	sd_bus_message *call = NULL;

	return lib.sd_bus_message_new_method_call(job->bus, &call, MANAGER, MANAGER_PATH,
						  MANAGER_IFACE, method) < 0
		       ? NULL
		       : call;
}

static int append_limits(sd_bus_message *call, const json_t *resources, uint64_t memory_bytes)
{
	const json_t *cpu = json_object_get(resources, "cpu");
	json_int_t shares = json_integer_value(json_object_get(cpu, "shares"));
	json_int_t quota = json_integer_value(json_object_get(cpu, "quota"));
	json_int_t period = json_integer_value(json_object_get(cpu, "period"));
	int ret = 0;

	if (json_integer_value(json_at((json_t *)resources, "memory", "limit", NULL)) > 0)
		ret = lib.sd_bus_message_append(call, "(sv)", "MemoryMax", "t", memory_bytes);
	if (ret >= 0 && shares > 0)
		ret = lib.sd_bus_message_append(call, "(sv)", "CPUWeight", "t",
						(uint64_t)unified_cpu_weight(shares));
	if (ret >= 0 && quota > 0)
		ret = lib.sd_bus_message_append(
			call, "(sv)", "CPUQuotaPerSecUSec", "t",
			(uint64_t)(quota * 1000000 / (period > 0 ? period : 100000)));
	return ret;
}

/* Delegated: what is below the scope is the container's business. */
static int append_scope(sd_bus_message *call, const char *unit, const char *slice, const char *id,
			pid_t pid, const json_t *resources, uint64_t memory_bytes)
{
	char description[320];
	int ret;

	snprintf(description, sizeof(description), "bulkhead container %s", id);
	ret = lib.sd_bus_message_append(call, "ss", unit, "fail");
	if (ret >= 0)
		ret = lib.sd_bus_message_open_container(call, 'a', "(sv)");
	if (ret >= 0)
		ret = lib.sd_bus_message_append(
			call, "(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)", "Description", "s",
			description, "Slice", "s", slice, "Delegate", "b", 1, "DefaultDependencies",
			"b", 0, "MemoryAccounting", "b", 1, "CPUAccounting", "b", 1, "IOAccounting",
			"b", 1, "TasksAccounting", "b", 1, "PIDs", "au", 1, (uint32_t)pid);
	if (ret >= 0)
		ret = append_limits(call, resources, memory_bytes);
	if (ret >= 0)
		ret = lib.sd_bus_message_close_container(call);
	if (ret >= 0)
		ret = lib.sd_bus_message_append(call, "a(sa(sv))", 0);
	return ret;
}

/* Where systemd put the process. */
static int find_folder(struct cgroup *cgroup, pid_t pid, struct error *err)
{
	cleanup_free char *path = format("/proc/%d/cgroup", pid), *text = NULL;
	ssize_t len = path ? file_read(AT_FDCWD, path, TEXT_MAX, &text, err) : -ENOMEM;

	if (len < 0)
		return error_set(err, (int)-len, "find the control group of %s", cgroup->scope);
	text[strcspn(text, "\n")] = '\0';
	if (strncmp(text, "0::/", 4) != 0 || !strstr(text, cgroup->scope))
		return error_say(err, EIO, "systemd put the VM into %s instead of %s", text,
				 cgroup->scope);
	return cgroup_add_folder(cgroup, "", format("/sys/fs/cgroup%s", text + 3), 0, err);
}

int cgroup_make_scope(struct cgroup *cgroup, const json_t *config, const char *id, pid_t pid,
		      uint64_t memory_bytes, struct error *err)
{
	const json_t *resources = json_at((json_t *)config, "linux", "resources", NULL);
	struct job job = {0};
	struct scope scope;
	sd_bus_message *call = NULL;
	int ret = parse_path(&scope, config, id, err);

	if (ret == 0)
		ret = connect_bus(&job, err);
	if (ret == 0) {
		call = make_call(&job, "StartTransientUnit");
		ret = call ? append_scope(call, cgroup->scope, scope.slice, id, pid, resources,
					  memory_bytes)
			   : -ENOMEM;
		ret = ret < 0 ? error_set(err, -ret, "systemd: %s", cgroup->scope)
			      : run_job(&job, call, cgroup->scope, err);
	}
	if (ret == 0)
		ret = find_folder(cgroup, pid, err);
	if (call)
		lib.sd_bus_message_unref(call);
	if (job.bus)
		lib.sd_bus_flush_close_unref(job.bus);
	return ret;
}

/* A scope goes by itself with its last process: one that is unknown is as it should be. */
int cgroup_stop_scope(const struct cgroup *cgroup, struct error *err)
{
	struct job job = {0};
	struct error why = {0};
	sd_bus_message *call = NULL;
	int ret = connect_bus(&job, &why);

	if (ret == 0) {
		call = make_call(&job, "StopUnit");
		ret = call ? lib.sd_bus_message_append(call, "ss", cgroup->scope, "replace")
			   : -ENOMEM;
		ret = ret < 0 ? error_set(&why, -ret, "systemd: %s", cgroup->scope)
			      : run_job(&job, call, cgroup->scope, &why);
		if (ret == 0 || ret == -ENOENT)
			ret = 0;
	}
	if (call)
		lib.sd_bus_message_unref(call);
	if (job.bus) {
		lib.sd_bus_call_method(job.bus, MANAGER, MANAGER_PATH, MANAGER_IFACE,
				       "ResetFailedUnit", NULL, NULL, "s", cgroup->scope);
		lib.sd_bus_flush_close_unref(job.bus);
	}
	return ret < 0 ? error_say(err, -ret, "%s", why.message) : 0;
}
