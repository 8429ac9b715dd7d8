/* PID 1 of the guest. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "guest-agent/agent.h"
#include "guest-agent/memory.h"
#include "guest-agent/path.h"

static int kmsg_fd = -1;

void agent_log(const char *fmt, ...)
{
	char line[900] = "<2>bulkhead-agent: ";
	size_t used = strlen(line);
	va_list args;

	va_start(args, fmt);
	vsnprintf(line + used, sizeof(line) - used, fmt, args);
	va_end(args);
	if (kmsg_fd >= 0 && write(kmsg_fd, line, strlen(line)) < 0)
		return; /* there is nobody else to tell */
}

void agent_power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static const struct {
	const char *source, *target, *type;
	unsigned long flags;
	const char *data;
} mounts[] = {
	{"devtmpfs", "dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, NULL},
	{"proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	{"sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
};

/*
 * nsdelegate: the container's limits are out of reach from inside its cgroup namespace.
 * favordynmods: else enabling a controller waits for an RCU grace period, at every start.
 */
static int mount_cgroups(void)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (!mount("cgroup2", "sys/fs/cgroup", "cgroup2", flags, "nsdelegate,favordynmods"))
		return 0;
	return mount("cgroup2", "sys/fs/cgroup", "cgroup2", flags, "nsdelegate") < 0 ? -errno : 0;
}

/*
 * Moves from the initramfs to a tmpfs on top of it: the initramfs itself can not be pivoted from,
 * and the container's process is to leave by pivot_root.
 */
static int leave_initramfs(struct error *err)
{
	/*
	 * Not to be executed again, by root neither: a workload's command may turn out to be, or be
	 * interpreted by, /proc/self/exe, which is this until the exec (CVE-2019-5736).
	 */
	if (chmod("/init", 0) < 0)
		return error_set(err, errno, "chmod /init");
	if (mkdir("/root", 0755) < 0 && errno != EEXIST)
		return error_set(err, errno, "mkdir /root");
	if (mount("tmpfs", "/root", "tmpfs", MS_NODEV | MS_NOSUID, "mode=0755") < 0)
		return error_set(err, errno, "mount tmpfs");
	if (chdir("/root") < 0)
		return error_set(err, errno, "chdir /root");
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++)
		if (mkdir(mounts[i].target, 0755) < 0 ||
		    mount(mounts[i].source, mounts[i].target, mounts[i].type, mounts[i].flags,
			  mounts[i].data) < 0)
			return error_set(err, errno, "mount /%s", mounts[i].target);
	/* Else kcompactd looks twice a second whether there is something to tidy up in advance. */
	path_write("proc/sys/vm/compaction_proactiveness", "0");
	if (mount_cgroups() < 0)
		return error_set(err, errno, "mount cgroup2");
	if (mkdir("run", 0755) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		return error_set(err, errno, "change the root");
	return 0;
}

/* The kernel gives no descriptors when there is no console. Nothing may become 0, 1 or 2 later. */
static void open_standard(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; fd >= 0 && i < 3; i++)
		if (i != fd)
			dup3(fd, i, O_CLOEXEC);
	if (fd > 2)
		close(fd);
	kmsg_fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
}

static void loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		agent_log("lo: %s", strerror(errno));
}

/* The workload can not look into the agent, nor make the kernel kill it for memory. */
static int protect_agent(struct agent *agent, struct error *err)
{
	int ret = path_write("/proc/self/oom_score_adj", "-1000");

	if (ret < 0)
		return error_set(err, -ret, "write oom_score_adj");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return error_set(err, errno, "become undumpable");
	agent->own_pid_ns = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (agent->own_pid_ns < 0)
		return error_set(err, errno, "open my pid namespace");
	umask(0);
	return 0;
}

/* Everything whose parent has died ends here too; it is nobody's task. */
static void reap(struct agent *agent)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (uint32_t i = 0; i < PROTO_PROCESS_MAX; i++)
			if (agent->tasks[i] && agent->tasks[i]->pid == pid) {
				task_reaped(agent->tasks[i], status);
				break;
			}
}

static void signal_ready(struct loop_watch *watch, uint32_t events)
{
	struct agent *agent = container_of(watch, struct agent, signal_watch);
	struct signalfd_siginfo info;

	(void)events;
	/* Signals coalesce: one may stand for many children. */
	if (read(agent->signal_fd, &info, sizeof(info)) < 0)
		return;
	reap(agent);
}

static int watch_children(struct agent *agent, struct error *err)
{
	sigset_t set;
	int ret;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	agent->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (agent->signal_fd < 0)
		return error_set(err, errno, "signalfd");
	ret = loop_add(&agent->loop, &agent->signal_watch, agent->signal_fd, EPOLLIN, signal_ready);
	return ret < 0 ? error_set(err, -ret, "watch children") : 0;
}

static int start(struct agent *agent, struct error *err)
{
	int ret;

	agent->started_ns = clock_ns(CLOCK_BOOTTIME);
	agent->memory_at_boot = memory_total();
	agent->container.cgroup_fd = -1;
	ret = leave_initramfs(err);
	open_standard();
	if (ret < 0)
		return ret;
	loopback_up();
	ret = loop_init(&agent->loop);
	if (ret < 0)
		return error_set(err, -ret, "event loop");
	if ((ret = protect_agent(agent, err)) < 0 || (ret = watch_children(agent, err)) < 0)
		return ret;
	return control_open(agent, err);
}

int main(void)
{
	static struct agent agent;
	static struct error err;
	int ret;

	if (getpid() != 1)
		return 1;
	ret = start(&agent, &err);
	if (ret < 0)
		agent_log("%s", err.message);
	else if ((ret = loop_run(&agent.loop)) < 0)
		agent_log("event loop: %s", strerror(-ret));
	agent_power_off();
}
