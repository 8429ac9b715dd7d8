#include "guest-agent/launch.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/devices.h"
#include "guest-agent/hooks.h"
#include "guest-agent/lookup.h"
#include "guest-agent/mount_options.h"
#include "guest-agent/mounts.h"
#include "guest-agent/path.h"
#include "guest-agent/priority.h"
#include "guest-agent/process.h"
#include "guest-agent/protect.h"
#include "guest-agent/rootfs.h"
#include "guest-agent/spec.h"
#include "guest-agent/sync.h"
#include "guest-agent/terminal.h"
#include "guest-agent/user_home.h"

#define EXIT_SETUP_FAILED 127

/*
 * Closed now and not by the exec: until then a path of the workload's, its working directory above
 * all, could lead through /proc/self/fd to where they are open (CVE-2024-21626). Both that are kept
 * are no directories.
 */
static void close_agents_files(const struct launch *launch)
{
	bool in_order = launch->sync_fd < launch->init_pidfd;
	const int keep[] = {in_order ? launch->sync_fd : launch->init_pidfd,
			    in_order ? launch->init_pidfd : launch->sync_fd};
	int from = STDERR_FILENO + 1;

	for (size_t i = 0; i < 2; i++) {
		if (keep[i] > from)
			syscall(SYS_close_range, from, keep[i] - 1, 0);
		if (keep[i] >= from)
			from = keep[i] + 1;
	}
	syscall(SYS_close_range, from, ~0u, 0);
}

/* Nothing of the agent's reaches the workload: not its signal mask, its handlers, its files. */
static void leave_agent(const struct launch *launch)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int fd = 0; fd < 3; fd++)
		if (launch->stdio[fd] >= 0)
			dup2(launch->stdio[fd], fd);
	close_agents_files(launch);
	setsid();
}

/* Root of the new user namespace, which has its mappings now. */
static int enter_user_namespace(const struct launch *launch, struct error *err)
{
	if (!(launch->namespaces & CLONE_NEWUSER))
		return 0;
	if (launch->init_pidfd < 0 && sync_expect(launch->sync_fd, SYNC_MAPPED) < 0)
		return error_say(err, EPIPE, "lost the agent");
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return error_set(err, errno, "become root of the user namespace");
	return 0;
}

static int set_names(const json_t *config, struct error *err)
{
	const char *host = NULL, *domain = NULL;
	int ret;

	if ((ret = spec_string(config, "config", "hostname", &host, err)) < 0 ||
	    (ret = spec_string(config, "config", "domainname", &domain, err)) < 0)
		return ret;
	if (host && sethostname(host, strlen(host)) < 0)
		return error_set(err, errno, "sethostname %s", host);
	if (domain && setdomainname(domain, strlen(domain)) < 0)
		return error_set(err, errno, "setdomainname %s", domain);
	return 0;
}

/* Opens a terminal and hands its master to the agent; the slave becomes stdio. */
static int open_terminal(const struct launch *launch, int root_fd, bool console, struct error *err)
{
	cleanup_fd int master = -1, slave = -1;
	int ret = terminal_open(launch->process, root_fd, &master, &slave, err);

	if (ret < 0)
		return ret;
	if (console && (ret = terminal_bind_console(root_fd, slave, err)) < 0)
		return ret;
	ret = sync_send_fd(launch->sync_fd, SYNC_MASTER, master);
	if (ret < 0)
		return error_set(err, -ret, "hand over the terminal");
	return terminal_take(slave, err);
}

/* A mount point of its own, so that it can become the root and is ours in a user namespace too. */
static int open_root(struct error *err)
{
	int fd;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_set(err, errno, "make mounts private");
	if (mount(ROOTFS_PATH, ROOTFS_PATH, NULL, MS_BIND | MS_REC, NULL) < 0)
		return error_set(err, errno, "bind rootfs");
	fd = open(ROOTFS_PATH, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? error_set(err, errno, "open rootfs") : fd;
}

static int change_root(int root_fd, struct error *err)
{
	/* The old root lands on top of the new one and is taken off at once: no put_old needed. */
	if (fchdir(root_fd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return error_set(err, errno, "pivot_root");
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return error_set(err, errno, "leave the old root");
	return 0;
}

static int finish_root(const json_t *config, struct error *err)
{
	const json_t *root = NULL, *linux_ = NULL;
	const char *propagation = NULL;
	bool readonly = false;
	int ret;

	if ((ret = spec_object(config, "config", "root", &root, err)) < 0 ||
	    (ret = spec_bool(root, "config.root", "readonly", &readonly, err)) < 0 ||
	    (ret = spec_object(config, "config", "linux", &linux_, err)) < 0 ||
	    (ret = spec_string(linux_, "config.linux", "rootfsPropagation", &propagation, err)) < 0)
		return ret;
	if (readonly && mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
		return error_set(err, errno, "make the root read-only");
	if (propagation && *propagation) {
		unsigned long flags = mount_propagation(propagation);

		if (!flags)
			return error_say(err, EINVAL,
					 "config.linux.rootfsPropagation: unknown value \"%s\"",
					 propagation);
		if (mount(NULL, "/", NULL, flags, NULL) < 0)
			return error_set(err, errno, "rootfs propagation");
	}
	return 0;
}

/* As runc, so that an image need not have its WORKDIR; if it can't be, chdir tells. */
static void make_cwd(const json_t *process, int root_fd)
{
	const char *cwd = json_string_value(json_object_get(process, "cwd"));
	int fd = cwd ? path_make_dir(root_fd, cwd, NULL) : -1;

	close_fd(&fd);
}

static int build_container(const struct launch *launch, struct error *err)
{
	const json_t *config = launch->config;
	cleanup_fd int root_fd = open_root(err);
	struct late_mounts late = {0};
	int ret;

	if (root_fd < 0)
		return root_fd;
	if ((launch->namespaces & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
		return error_set(err, errno, "new cgroup namespace");
	if ((ret = set_names(config, err)) < 0 ||
	    (ret = mounts_make(config, launch->binds, root_fd, &late, err)) < 0 ||
	    (ret = devices_make(config, json_object_get(launch->document, "devices"), root_fd,
				err)) < 0)
		return ret;
	if (launch->terminal && (ret = open_terminal(launch, root_fd, true, err)) < 0)
		return ret;
	make_cwd(launch->process, root_fd);
	if ((ret = mounts_make_readonly(&late, err)) < 0 ||
	    (ret = protect_sysctl(config, err)) < 0 ||
	    (ret = protect_readonly_paths(config, root_fd, err)) < 0 ||
	    (ret = protect_mask_paths(config, root_fd, err)) < 0 ||
	    (ret = change_root(root_fd, err)) < 0)
		return ret;
	return finish_root(config, err);
}

/* The pid namespace was joined by the agent before the clone. */
static int join_container(const struct launch *launch, struct error *err)
{
	cleanup_fd int root_fd = -1;
	int flags = launch->namespaces & ~CLONE_NEWPID;

	if (setns(launch->init_pidfd, flags) < 0)
		return error_set(err, errno, "join the container's namespaces");
	if (!launch->terminal)
		return 0;
	root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return error_set(err, errno, "open /");
	return open_terminal(launch, root_fd, false, err);
}

struct command {
	const char **args, **env;
	char *executable;
};

/* As runc: of two entries for one name the later counts, in the place of the first. */
static int env_unite(const char **env, struct error *err)
{
	size_t count = 0;

	for (const char **entry = env; *entry; entry++) {
		size_t len = strcspn(*entry, "="), i = 0;

		if (!len || !(*entry)[len])
			return error_say(err, EINVAL, "process.env: \"%s\" is not NAME=VALUE",
					 *entry);
		while (i < count && strncmp(env[i], *entry, len + 1) != 0)
			i++;
		env[i] = *entry;
		count += i == count;
	}
	env[count] = NULL;
	return 0;
}

static int command_parse(const json_t *process, struct command *out, struct error *err)
{
	int ret;

	if ((ret = spec_strings(process, "process", "args", &out->args, err)) < 0 ||
	    (ret = spec_strings(process, "process", "env", &out->env, err)) < 0)
		return ret;
	if (!out->args || !out->args[0])
		return error_say(err, EINVAL, "process.args: must name a command");
	if (!out->env)
		out->env = calloc(1, sizeof(*out->env));
	return out->env ? env_unite(out->env, err) : error_set(err, ENOMEM, "process.env");
}

static int wait_and_exec(const struct launch *launch, const struct command *command,
			 bool late_seccomp, struct error *err)
{
	int ret = sync_send(launch->sync_fd, SYNC_READY);

	if (ret < 0 || sync_expect(launch->sync_fd, SYNC_GO) < 0)
		_exit(EXIT_SETUP_FAILED);
	/* Hooks too have the process's rights and no others. */
	if (late_seccomp && (ret = process_install_seccomp(launch->seccomp, err)) < 0)
		return ret;
	if (launch->init_pidfd < 0 && (ret = hooks_run(launch->document, err)) < 0)
		return ret;
	execve(command->executable, (char *const *)command->args, (char *const *)command->env);
	return error_say(err, errno, "exec %s: %s", command->executable,
			 errno == ENOEXEC ? "exec format error" : strerror(errno));
}

static int become(const struct launch *launch, struct error *err)
{
	cleanup_free gid_t *groups = NULL;
	struct process_user user = {0};
	struct command command = {0};
	int ret, nnp;

	if ((ret = process_user_parse(launch->process, &user, err)) < 0 ||
	    (ret = command_parse(launch->process, &command, err)) < 0 ||
	    (ret = process_set_limits(launch->process, err)) < 0 ||
	    (ret = priority_set(launch->config, launch->process, err)) < 0 ||
	    (nnp = ret = process_set_no_new_privileges(launch->process, err)) < 0)
		return ret;
	groups = user.groups;
	/* Without no_new_privs only CAP_SYS_ADMIN may install a filter, which is about to go. */
	if (!nnp && (ret = process_install_seccomp(launch->seccomp, err)) < 0)
		return ret;
	if ((ret = process_become_user(launch->process, &user, err)) < 0 ||
	    (ret = user_home_add(&command.env, user.uid, err)) < 0 ||
	    (ret = executable_lookup(command.args[0], command.env, &command.executable, err)) < 0)
		return ret;
	return wait_and_exec(launch, &command, nnp, err);
}

static int setup(const struct launch *launch, struct error *err)
{
	int ret;

	if ((ret = process_set_oom(launch->process, err)) < 0)
		return ret;
	if (launch->init_pidfd >= 0) {
		if ((ret = join_container(launch, err)) < 0 ||
		    (ret = enter_user_namespace(launch, err)) < 0)
			return ret;
		return 0;
	}
	if ((ret = enter_user_namespace(launch, err)) < 0)
		return ret;
	return build_container(launch, err);
}

void launch_run(const struct launch *launch)
{
	static struct error err;

	leave_agent(launch);
	umask(0022);
	if (setup(launch, &err) < 0)
		error_prefix(&err, -err.code, "error during container init");
	else
		become(launch, &err);
	sync_send_error(launch->sync_fd, &err);
	_exit(EXIT_SETUP_FAILED);
}
