/*
 * From inside of the jail: what a VMM that was taken over could still do. Every call is made by a
 * process that has gone the way of the VMM, through the jail and into the filter of one kind of
 * thread.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "tests/payload/payload.h"
#include "tests/payload/suites.h"
#include "vmm/filter.h"
#include "vmm/filters/rules.h"
#include "vmm/jail.h"

#define SYSCALLS   500
#define RULE_COUNT (sizeof(filter_rules) / sizeof(filter_rules[0]))

/* What a child does in the jail; its return value is the exit code. */
typedef int jailed_fn(const void *arg);

static int in_jail(jailed_fn *fn, const void *arg, unsigned int relaxed, int log_fd)
{
	struct error err = {0};
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		log_open(log_fd, false, LOG_LEVEL_ERROR);
		if (jail_enter(relaxed, -1, &err) < 0 || filter_prepare(&err) < 0) {
			fprintf(stderr, "%s\n", err.message);
			_exit(99);
		}
		_exit(fn(arg));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

struct call {
	enum filter_kind kind;
	long number;
	long args[4];
};

/* Returns the status of a child that makes the call. */
static int make_call(const struct call *call)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		filter_enter(call->kind);
		syscall(call->number, call->args[0], call->args[1], call->args[2], call->args[3]);
		/* Not exit_group, which only the main loop has. */
		syscall(SYS_exit, 0);
	}
	waitpid(pid, &status, 0);
	return status;
}

/*
 * uretprobe and uprobe pass every filter by the kernel's will (kernel/seccomp.c), and do nothing
 * but for the kernel's own trampolines.
 */
#define SYSCALL_URETPROBE 335
#define SYSCALL_UPROBE	  336

static bool has_rule(enum filter_kind kind, int number)
{
	if (number == SYSCALL_URETPROBE || number == SYSCALL_UPROBE)
		return true;
	for (size_t i = 0; i < RULE_COUNT; i++)
		if ((filter_rules[i].kinds & 1u << kind) &&
		    seccomp_syscall_resolve_name(filter_rules[i].syscall) == number)
			return true;
	return false;
}

static bool killed(const struct call *call)
{
	int status = make_call(call);

	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return true;
	fprintf(stderr, "system call %ld of kind %d: status 0x%x\n", call->number, call->kind,
		status);
	return false;
}

static int call_all_others(const void *arg)
{
	struct call call = {.kind = *(const enum filter_kind *)arg};
	int survived = 0;

	for (call.number = 0; call.number < SYSCALLS; call.number++)
		if (!has_rule(call.kind, (int)call.number) && !killed(&call))
			survived++;
	return survived;
}

START_TEST(every_call_without_a_rule_kills)
{
	enum filter_kind kind = (enum filter_kind)_i;
	cleanup_fd int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	ck_assert_int_eq(in_jail(call_all_others, &kind, 0, null), 0);
}
END_TEST

/* A call that has a rule, with arguments that the rule has not. */
static int call_with_other_arguments(const void *arg)
{
	const struct call calls[] = {
		{FILTER_MAIN, SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_ANONYMOUS}},
		{FILTER_MAIN, SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE}},
		{FILTER_MAIN, SYS_socketpair, {AF_INET, SOCK_STREAM}},
		{FILTER_MAIN, SYS_fcntl, {0, F_DUPFD, 0}},
		{FILTER_MAIN, SYS_fcntl, {0, F_SETOWN, 1}},
		{FILTER_MAIN, SYS_newfstatat, {AT_FDCWD, (long)"/", 0, 0}},
		{FILTER_MAIN, SYS_ioctl, {0, TIOCSTI, 0}},
		{FILTER_MAIN, SYS_ioctl, {0, KVM_RUN, 0}},
		{FILTER_MAIN, SYS_kill, {1, SIGTERM}},
		{FILTER_MAIN, SYS_kill, {-1, SIGTERM}},
		{FILTER_MAIN, SYS_kill, {0, 0}},
		{FILTER_MAIN, SYS_tgkill, {1, 1, SIGURG}},
		{FILTER_MAIN, SYS_tgkill, {getpid(), getpid(), SIGKILL}},
		{FILTER_MAIN, SYS_rt_sigaction, {SIGSYS, 0, 0, 8}},
		{FILTER_VCPU, SYS_ioctl, {0, KVM_CREATE_VM, 0}},
		{FILTER_VCPU, SYS_ioctl, {0, (long)KVM_SET_USER_MEMORY_REGION, 0}},
		{FILTER_VCPU, SYS_ioctl, {0, TCGETS, 0}},
	};
	int survived = 0;

	(void)arg;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		survived += !killed(&calls[i]);
	return survived;
}

START_TEST(other_arguments_kill)
{
	cleanup_fd int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	ck_assert_int_eq(in_jail(call_with_other_arguments, NULL, 0, null), 0);
}
END_TEST

static int call_socket(const void *arg)
{
	(void)arg;
	filter_enter(FILTER_VCPU);
	return (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
}

START_TEST(the_last_word_names_thread_and_call)
{
	char line[400] = "";
	int pipe_fds[2], status;

	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	status = in_jail(call_socket, NULL, 0, pipe_fds[1]);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS && !WCOREDUMP(status));
	ck_assert_int_gt(read(pipe_fds[0], line, sizeof(line) - 1), 0);
	ck_assert_msg(strstr(line, "level=error") && strstr(line, "vCPU thread") &&
			      strstr(line, "socket (41; 0x2, 0x1, 0x0)"),
		      "%s", line);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}
END_TEST

/* SIGSYS as the workload's end, and not as the filter's, is no news. */
static int die_by_sigsys(const void *arg)
{
	pid_t self = getpid();

	(void)arg;
	filter_enter(FILTER_MAIN);
	kill(self, SIGSYS);
	return 1;
}

START_TEST(a_workload_may_end_by_sigsys)
{
	char line[400];
	int pipe_fds[2], status;

	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	status = in_jail(die_by_sigsys, NULL, 0, pipe_fds[1]);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	ck_assert_int_eq(read(pipe_fds[0], line, sizeof(line)), -1);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}
END_TEST

/* --- the jail alone, as if no filter were there --- */

static int count_failures(const void *arg)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/bulkhead"};
	pid_t outside = *(const pid_t *)arg;
	char *argv[] = {"true", NULL};
	int possible = 0;

#define IMPOSSIBLE(call)                                     \
	do {                                                 \
		if ((call) >= 0) {                           \
			fprintf(stderr, "%s: yes\n", #call); \
			possible++;                          \
		}                                            \
	} while (0)

	/* No file of the host's, nor its list; nor one that is made now. */
	IMPOSSIBLE(open("/", O_RDONLY));
	IMPOSSIBLE(open("/etc/passwd", O_RDONLY));
	IMPOSSIBLE(open("/proc/self/mem", O_RDWR));
	IMPOSSIBLE(open("../../../../etc/passwd", O_RDONLY));
	IMPOSSIBLE(open("/new", O_CREAT | O_WRONLY, 0600));
	IMPOSSIBLE(mkdir("/new", 0700));
	IMPOSSIBLE(symlink("/", "/new"));
	IMPOSSIBLE(mknod("/kmem", S_IFCHR | 0600, makedev(1, 2)));
	IMPOSSIBLE(chdir("/proc"));
	IMPOSSIBLE(access("/run/bulkhead", F_OK));
	/* No program, no other process, no way to more rights. */
	IMPOSSIBLE(execv("/bin/true", argv));
	IMPOSSIBLE(ptrace(PTRACE_ATTACH, outside, NULL, NULL));
	IMPOSSIBLE(kill(outside, 0));
	IMPOSSIBLE(setuid(0));
	IMPOSSIBLE(setgid(0));
	IMPOSSIBLE(syscall(SYS_setgroups, 1, (gid_t[]){0}));
	IMPOSSIBLE(mount("none", "/", "tmpfs", 0, NULL));
	IMPOSSIBLE(umount2("/", MNT_DETACH));
	IMPOSSIBLE(chroot("/"));
	IMPOSSIBLE(unshare(CLONE_NEWNS));
	IMPOSSIBLE(unshare(CLONE_NEWNET));
	IMPOSSIBLE(sethostname("mine", 4));
	IMPOSSIBLE(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0));
	/* The state of other containers is a path, and there is none to it. */
	IMPOSSIBLE(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address,
			   sizeof(address)));
	return possible;
}

START_TEST(the_jail_alone_is_an_empty_room)
{
	pid_t outside = getpid();

	ck_assert_int_eq(in_jail(count_failures, &outside, JAIL_SECCOMP, STDERR_FILENO), 0);
}
END_TEST

START_TEST(layers_are_known_by_name)
{
	ck_assert_int_eq(jail_parse_layers("seccomp"), JAIL_SECCOMP);
	ck_assert_int_eq(jail_parse_layers("user,landlock"), JAIL_USER | JAIL_LANDLOCK);
	ck_assert_int_eq(jail_parse_layers(""), -EINVAL);
	ck_assert_int_eq(jail_parse_layers("user,"), -EINVAL);
	ck_assert_int_eq(jail_parse_layers("all"), -EINVAL);
}
END_TEST

static int keep_some(const void *arg)
{
	const int *fds = arg;
	int keep[] = {fds[3], 1, fds[1]};

	if (jail_close_others(keep, 3, NULL) < 0)
		return 100;
	return (fcntl(fds[0], F_GETFD) >= 0) + (fcntl(fds[2], F_GETFD) >= 0) +
	       (fcntl(fds[4], F_GETFD) >= 0) + (fcntl(fds[1], F_GETFD) < 0) +
	       (fcntl(fds[3], F_GETFD) < 0) + (fcntl(STDERR_FILENO, F_GETFD) < 0);
}

START_TEST(other_descriptors_are_closed)
{
	int fds[5];

	for (int i = 0; i < 5; i++)
		fds[i] = open("/dev/null", O_RDONLY);
	ck_assert_int_eq(in_jail(keep_some, fds, JAIL_SECCOMP, STDERR_FILENO), 0);
	for (int i = 0; i < 5; i++)
		close(fds[i]);
}
END_TEST

Suite *wall_suite(void)
{
	Suite *suite = suite_create("wall");
	TCase *tcase = tcase_create("wall");

	tcase_set_timeout(tcase, 2 * PAYLOAD_TIMEOUT_S);
	tcase_add_loop_test(tcase, every_call_without_a_rule_kills, 0, FILTER_KINDS);
	tcase_add_test(tcase, other_arguments_kill);
	tcase_add_test(tcase, the_last_word_names_thread_and_call);
	tcase_add_test(tcase, a_workload_may_end_by_sigsys);
	tcase_add_test(tcase, the_jail_alone_is_an_empty_room);
	tcase_add_test(tcase, layers_are_known_by_name);
	tcase_add_test(tcase, other_descriptors_are_closed);
	suite_add_tcase(suite, tcase);
	return suite;
}
