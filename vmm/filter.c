#include "vmm/filter.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "common/log.h"
#include "filter_programs.h"

/* si_code; glibc keeps it to itself. */
#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1
#endif

static const struct {
	const char *name;
	const struct sock_filter *program;
	unsigned short len;
} filters[FILTER_KINDS] = {
	[FILTER_MAIN] = {"main loop", filter_main, sizeof(filter_main) / sizeof(filter_main[0])},
	[FILTER_VCPU] = {"vCPU", filter_vcpu, sizeof(filter_vcpu) / sizeof(filter_vcpu[0])},
	[FILTER_IO] = {"I/O", filter_io, sizeof(filter_io) / sizeof(filter_io[0])},
	[FILTER_FS] = {"file system", filter_fs, sizeof(filter_fs) / sizeof(filter_fs[0])},
};

static _Thread_local const char *thread_kind = "unconfined";

static const char *syscall_name(int number)
{
	if (number < 0 || (size_t)number >= sizeof(syscall_names) / sizeof(syscall_names[0]) ||
	    !syscall_names[number])
		return "unknown";
	return syscall_names[number];
}

/* The first three arguments: what a rule most often looks at. */
static void get_arguments(const ucontext_t *context, unsigned long long args[3])
{
#ifdef __x86_64__
	args[0] = (unsigned long long)context->uc_mcontext.gregs[REG_RDI];
	args[1] = (unsigned long long)context->uc_mcontext.gregs[REG_RSI];
	args[2] = (unsigned long long)context->uc_mcontext.gregs[REG_RDX];
#else
#error "where does this architecture keep the arguments of a system call?"
#endif
}

/*
 * The call was not made, and this thread makes no other. The log is none of the functions that are
 * safe in a signal handler; but whoever holds its locks at this moment is an attacker who broke in
 * there, and a thread that hangs is all that they get from it.
 */
static void last_word(int sig, siginfo_t *info, void *context)
{
	unsigned long long args[3];

	(void)sig;
	if (info->si_code == SYS_SECCOMP) {
		get_arguments(context, args);
		log_error("seccomp: the %s thread made the system call %s (%d; 0x%llx, 0x%llx, "
			  "0x%llx), which no rule allows; the VMM ends here",
			  thread_kind, syscall_name(info->si_syscall), info->si_syscall, args[0],
			  args[1], args[2]);
	}
	/* All filters have SECCOMP_RET_KILL_PROCESS for this. It would not do anything else. */
	syscall(SYS_reboot, 0, 0, 0, NULL);
	_exit(128 + SIGSYS);
}

int filter_prepare(struct error *err)
{
	struct sigaction action = {.sa_sigaction = last_word, .sa_flags = SA_SIGINFO};

	sigfillset(&action.sa_mask);
	if (sigaction(SIGSYS, &action, NULL) < 0)
		return error_set(err, errno, "seccomp: sigaction");
	return 0;
}

static int install(enum filter_kind kind)
{
	struct sock_filter program[FILTER_PROGRAM_MAX];
	unsigned short len = filters[kind].len;
	struct sock_fprog prog = {.len = len, .filter = program};
	sigset_t set;

	memcpy(program, filters[kind].program, len * sizeof(*program));
	for (unsigned short i = 0; i < len; i++)
		if (BPF_CLASS(program[i].code) == BPF_JMP && program[i].k == FILTER_SELF)
			program[i].k = (uint32_t)getpid();
	/* Blocked, it could not say anything. */
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

void filter_enter(enum filter_kind kind)
{
	thread_kind = filters[kind].name;
	if (install(kind) == 0)
		return;
	log_error("seccomp: the %s thread cannot be confined: %s; a kernel with "
		  "CONFIG_SECCOMP_FILTER is needed",
		  thread_kind, strerror(errno));
	abort();
}

void filter_print_calls(void)
{
	for (size_t i = 0; i < sizeof(filter_calls) / sizeof(filter_calls[0]); i++)
		puts(filter_calls[i]);
}
