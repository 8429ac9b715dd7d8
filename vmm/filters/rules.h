/*
 * The system calls of a running VMM, by the kind of its thread. All else ends the process with a
 * line in the log. docs/security.md tells how to add a rule; tests/integration/wall.bats that each
 * is used.
 *
 * A call with no condition on its arguments is the cheapest: the kernel remembers that.
 */
#ifndef VMM_FILTERS_RULES_H
#define VMM_FILTERS_RULES_H

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "vmm/filters/kinds.h"

enum { MAIN = 1 << FILTER_MAIN, VCPU = 1 << FILTER_VCPU, IO = 1 << FILTER_IO };

struct filter_rule {
	unsigned int kinds;
	const char *syscall;
	struct scmp_arg_cmp conditions[2]; /* all must hold; SCMP_CMP of 0: none */
	unsigned int condition_count;
	const char *reason;
	/* Why a test does not see it, where none can: another C library, a kernel's whim. */
	const char *unseen;
};

#define ANY		   .condition_count = 0
#define IF(...)		   .conditions = {__VA_ARGS__}, .condition_count = 1
#define IF_BOTH(...)	   .conditions = {__VA_ARGS__}, .condition_count = 2
#define IS(arg, value)	   SCMP_CMP64(arg, SCMP_CMP_EQ, (uint64_t)(value))
#define WITHOUT(arg, bits) SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, (uint64_t)(bits), 0)
#define WITH(arg, bits)	   SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, (uint64_t)(bits), (uint64_t)(bits))

static const struct filter_rule filter_rules[] = {
	/* Waiting, and what is waited for. */
	{MAIN | IO, "epoll_wait", ANY, .reason = "event loops"},
	{MAIN, "epoll_ctl", ANY, .reason = "connections come and go"},
	{MAIN, "poll", ANY, .reason = "whether a terminal or file takes output now"},
	{MAIN | VCPU | IO, "futex", ANY, .reason = "locks between threads; the end of a thread"},
	{MAIN, "timerfd_settime", ANY, .reason = "time limits of agent and output"},
	{MAIN | VCPU | IO, "clock_gettime", ANY,
	 .reason = "time stamps, where the vDSO cannot tell the time"},

	/* Bytes. Descriptors were opened before, or came over the control socket. */
	{MAIN | IO, "read", ANY, .reason = "events, signals, control clients"},
	{MAIN | VCPU | IO, "write", ANY, .reason = "interrupts, wake-ups, the log"},
	{MAIN, "readv", ANY, .reason = "the workload's stdin: a file or terminal"},
	{MAIN, "writev", ANY, .reason = "the workload's stdout and stderr: a file"},
	{MAIN, "preadv2", ANY, .reason = "the same, from pipes without waiting"},
	{MAIN, "pwritev2", ANY, .reason = "the same, to pipes without waiting"},
	{MAIN, "recvmsg", ANY, .reason = "streams and control clients that are sockets"},
	{MAIN, "sendmsg", ANY, .reason = "the same"},
	{MAIN, "recvfrom", ANY, .reason = "CONNECT lines of hybrid vsock clients"},
	{MAIN, "sendto", ANY, .reason = "answers to control and hybrid vsock clients"},
	{MAIN, "getrandom", ANY, .reason = "the entropy device"},

	/* Descriptors. None of these calls names a path or an address. */
	{MAIN, "accept4", ANY, .reason = "control and hybrid vsock clients"},
	{MAIN, "socketpair", IF(IS(0, AF_UNIX)), .reason = "the agent's connection"},
	{MAIN, "shutdown", ANY, .reason = "half-closed streams"},
	{MAIN, "close", ANY, .reason = "connections end"},
	{MAIN, "fcntl", IF(IS(1, F_GETFL)), .reason = "clients are made non-blocking"},
	{MAIN, "fcntl", IF(IS(1, F_SETFL)), .reason = "the same"},
	{MAIN, "newfstatat", IF(IS(3, AT_EMPTY_PATH)),
	 .reason = "fstat: what kind of descriptor a stream is"},
	{MAIN, "fstat", ANY, .reason = "the same", .unseen = "glibc 2.39 and later"},
	{MAIN, "ioctl", IF(IS(1, TCGETS)), .reason = "isatty: is a stream a terminal"},

	/* KVM. A vCPU's thread has one call; its registers are for the message when it fails. */
	{VCPU, "ioctl", IF(IS(1, KVM_RUN)), .reason = "runs the guest"},
	{VCPU, "ioctl", IF(IS(1, KVM_GET_REGS)), .reason = "where it was when KVM gave up"},

	/* Disks. The ring itself is bound to four operations (devices/blk_io.c). */
	{IO, "io_uring_enter", ANY, .reason = "requests to the disk's ring"},
	{IO, "preadv", ANY, .reason = "disks where the host forbids io_uring"},
	{IO, "pwritev", ANY, .reason = "the same"},
	{IO, "fdatasync", ANY, .reason = "the same"},
	{IO, "fallocate", ANY, .reason = "the same"},

	/* Memory: never executable, never a file. */
	{MAIN, "brk", ANY, .reason = "the heap"},
	{MAIN, "mmap", IF_BOTH(WITHOUT(2, PROT_EXEC), WITH(3, MAP_ANONYMOUS)),
	 .reason = "large blocks of the heap"},
	{MAIN, "mremap", ANY, .reason = "large blocks that grow"},
	{MAIN, "munmap", ANY, .reason = "the same given back; guest memory at the end"},

	/* Threads end, and with them the process, as the workload ended. */
	{VCPU, "rt_sigreturn", ANY, .reason = "back from the kick that interrupts KVM_RUN"},
	{MAIN, "tgkill", IF_BOTH(IS(0, FILTER_SELF), IS(2, SIGURG)), .reason = "that kick"},
	{MAIN, "getpid", ANY, .reason = "who is to be kicked, or to die"},
	{MAIN | VCPU | IO, "rt_sigprocmask", ANY, .reason = "around the end of a thread"},
	{VCPU | IO, "madvise", ANY, .reason = "a thread's stack is given back"},
	{VCPU | IO, "exit", ANY, .reason = "a thread ends"},
	{MAIN, "rt_sigaction", IF(IS(0, SIGPIPE)), .reason = "to die by it, as the workload did"},
	{MAIN, "kill", IF(IS(0, FILTER_SELF)), .reason = "to die by the workload's signal"},
	{MAIN, "exit_group", ANY, .reason = "the end"},
};

#endif
