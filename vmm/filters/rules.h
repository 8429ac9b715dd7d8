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
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/vhost.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "vmm/filters/kinds.h"

enum {
	MAIN = 1 << FILTER_MAIN,
	VCPU = 1 << FILTER_VCPU,
	IO = 1 << FILTER_IO,
	FS = 1 << FILTER_FS,
	LOOPS = MAIN | IO | FS,
	ALL = MAIN | VCPU | IO,
};

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
	{LOOPS, "epoll_wait", ANY, .reason = "event loops"},
	{MAIN | IO | FS, "epoll_ctl", ANY, .reason = "connections and back ends come and go"},
	{MAIN, "poll", ANY, .reason = "whether a terminal or file takes output now"},
	{ALL, "futex", ANY, .reason = "locks between threads; the end of a thread"},
	{FS, "poll", ANY, .reason = "the next word of the back end"},
	{MAIN, "timerfd_settime", ANY, .reason = "time limits of agent and output"},
	{FS, "timerfd_settime", ANY, .reason = "devices/activity.h",
	 .unseen = "tests of shared roots"},
	{IO, "timerfd_settime", ANY, .reason = "rates: when it may go on",
	 .unseen = "tests of rates"},
	{MAIN, "timerfd_create", ANY, .reason = "rates are set", .unseen = "the same"},
	{ALL | FS, "clock_gettime", ANY,
	 .reason = "time stamps, where the vDSO cannot tell the time", .unseen = "where it can"},
	{FS, "futex", ANY, .reason = "the device's lock", .unseen = "somebody else has to hold it"},
	{IO, "sched_setscheduler", IF_BOTH(IS(0, 0), IS(1, SCHED_BATCH)),
	 .reason = "it gives way, on a single CPU", .unseen = "a stream on one"},
	{IO, "sched_setscheduler", IF_BOTH(IS(0, 0), IS(1, SCHED_OTHER)),
	 .reason = "and does not any more", .unseen = "the same"},

	/* Bytes. Descriptors were opened before, or came over the control socket. */
	{LOOPS, "read", ANY, .reason = "events, signals, frames from taps"},
	{MAIN | VCPU | IO, "write", ANY, .reason = "wake-ups, the log"},
	{FS, "write", ANY, .reason = "the device when its back end is gone, the log",
	 .unseen = "tests of virtiofsd that ends"},
	/* With -1 for an offset and no flags they are readv and writev, which need no rules so. */
	{MAIN, "preadv2", ANY, .reason = "the workload's stdin; a pipe without waiting"},
	{MAIN, "pwritev2", ANY, .reason = "its stdout and stderr; pipes without waiting"},
	{IO, "preadv2", ANY,
	 .reason = "frames from taps; disks in memory, or where the host forbids io_uring"},
	{IO, "pwritev2", ANY,
	 .reason = "one frame to a tap, frames to packet sockets; disks likewise"},
	{MAIN, "recvmsg", ANY, .reason = "streams and control clients that are sockets"},
	{MAIN, "sendmsg", ANY, .reason = "the same"},
	{FS, "sendmsg", ANY, .reason = "vhost-user: memory and queues go to the back end"},
	{FS, "recvmsg", ANY, .reason = "vhost-user: its replies"},
	{MAIN, "recvfrom", ANY, .reason = "CONNECT lines of hybrid vsock clients"},
	{MAIN, "sendto", ANY, .reason = "answers to control and hybrid vsock clients"},
	{IO, "recvfrom", ANY, .reason = "streams of frames (passt)",
	 .unseen = "tests of networks by a stream"},
	{IO, "sendto", ANY, .reason = "the same", .unseen = "the same"},
	{MAIN, "getrandom", ANY, .reason = "the entropy device"},

	/* Descriptors. None of these calls names a path. */
	{MAIN, "accept4", ANY, .reason = "control and hybrid vsock clients"},
	{MAIN, "socketpair", IF(IS(0, AF_UNIX)), .reason = "the agent's connection"},
	{MAIN, "shutdown", ANY, .reason = "half-closed streams"},
	{FS, "shutdown", ANY, .reason = "a back end that is of no use any more",
	 .unseen = "tests of virtiofsd that ends"},
	{MAIN, "close", ANY, .reason = "connections end"},
	{FS, "close", ANY, .reason = "descriptors that a back end sent uncalled for",
	 .unseen = "virtiofsd sends none"},
	{IO, "close", ANY, .reason = "back ends go", .unseen = "tests of networks that go"},
	{MAIN, "fcntl", IF(IS(1, F_GETFL)), .reason = "clients are made non-blocking"},
	{MAIN, "fcntl", IF(IS(1, F_SETFL)), .reason = "the same"},
	{MAIN, "newfstatat", IF(IS(3, AT_EMPTY_PATH)),
	 .reason = "fstat: what kind of descriptor a stream is"},
	{MAIN, "fstat", ANY, .reason = "the same", .unseen = "glibc 2.39 and later"},
	{MAIN, "ioctl", IF(IS(1, TCGETS)), .reason = "isatty: is a stream a terminal"},
	{MAIN, "fcntl", IF(IS(1, F_DUPFD_CLOEXEC)),
	 .reason = "a terminal is kept to ask for its size", .unseen = "tests of terminals"},
	{MAIN, "ioctl", IF(IS(1, TIOCGWINSZ)), .reason = "that size", .unseen = "the same"},

	/* KVM. A vCPU's thread has one call for the guest; its registers are for the message when
	   it fails. */
	{VCPU, "ioctl", IF(IS(1, KVM_RUN)), .reason = "runs the guest"},
	{MAIN | IO, "ioctl", IF(IS(1, KVM_IRQ_LINE)), .reason = "interrupts of devices"},
	{VCPU | FS, "ioctl", IF(IS(1, KVM_IRQ_LINE)), .reason = "a device that needs a reset",
	 .unseen = "guests that break the rules; virtiofsd that ends"},
	{MAIN, "ioctl", IF(IS(1, KVM_SET_USER_MEMORY_REGION)), .reason = "memory that comes later",
	 .unseen = "tests of memory that grows"},
	{VCPU, "ioctl", IF(IS(1, KVM_GET_REGS)), .reason = "where it was when KVM gave up",
	 .unseen = "a guest in the payload tests ends so"},

/* A snapshot: all that KVM knows of the guest is read, and written to a file that came with
   SAVE. */
#define SNAPSHOT .unseen = "tests of checkpoints"
	{MAIN, "ioctl", IF(IS(1, KVM_CHECK_EXTENSION)), .reason = "how long it is", SNAPSHOT},
	{MAIN, "ioctl", IF(IS(1, KVM_GET_MSR_INDEX_LIST)), .reason = "the same", SNAPSHOT},
	{MAIN, "ioctl", IF(IS(1, KVM_GET_TSC_KHZ)), .reason = "where it can go on", SNAPSHOT},
	{MAIN, "ioctl", IF(IS(1, KVM_GET_CLOCK)), .reason = "the guest's time", SNAPSHOT},
	{MAIN, "ioctl", IF(IS(1, KVM_GET_IRQCHIP)), .reason = "interrupts", SNAPSHOT},
	{MAIN, "ioctl", IF(IS(1, KVM_GET_LAPIC)), .reason = "interrupts", SNAPSHOT},
	{MAIN, "ioctl", IF(IS(1, KVM_GET_REGS)), .reason = "vCPUs", SNAPSHOT},
	{MAIN, "ioctl", IF(IS(1, KVM_GET_SREGS)), .reason = "vCPUs", SNAPSHOT},
	{MAIN, "ioctl", IF(IS(1, KVM_GET_XCRS)), .reason = "vCPUs", SNAPSHOT},
	{MAIN, "ioctl", IF(IS(1, KVM_GET_XSAVE)), .reason = "vCPUs", SNAPSHOT},
	{MAIN, "ioctl", IF(IS(1, KVM_GET_XSAVE2)), .reason = "vCPUs", SNAPSHOT},
	{MAIN, "ioctl", IF(IS(1, KVM_GET_DEBUGREGS)), .reason = "vCPUs", SNAPSHOT},
	{MAIN, "ioctl", IF(IS(1, KVM_GET_MSRS)), .reason = "vCPUs", SNAPSHOT},
	{MAIN, "ioctl", IF(IS(1, KVM_GET_MP_STATE)), .reason = "vCPUs", SNAPSHOT},
	{MAIN, "ioctl", IF(IS(1, KVM_GET_VCPU_EVENTS)), .reason = "vCPUs", SNAPSHOT},
	{MAIN, "lseek", ANY, .reason = "where there is memory", SNAPSHOT},
	{MAIN, "pwrite64", ANY, .reason = "the files", SNAPSHOT},

	/* Disks, and packets to taps. Rings are bound to a few operations (devices/uring.h). */
	{IO, "io_uring_enter", ANY, .reason = "requests to disks' rings, packets to taps"},
	{IO, "fdatasync", ANY, .reason = "disks where the host forbids io_uring"},
	{IO, "fallocate", ANY, .reason = "the same",
	 .unseen = "the guest decides when to discard; the unit tests of the disk do"},

	/* Networks: a tap that came with ATTACH follows what the driver negotiated. */
	{MAIN | IO, "getsockopt", IF_BOTH(IS(1, SOL_SOCKET), IS(2, SO_TYPE)),
	 .reason = "is a back end a tap or a socket"},
	{MAIN, "ioctl", IF(IS(1, TUNGETIFF)), .reason = "is it a tap with headers"},
	{MAIN, "ioctl", IF(IS(1, TUNSETVNETHDRSZ)), .reason = "how long those are"},
	{IO, "ioctl", IF(IS(1, TUNSETOFFLOAD)), .reason = "what the driver takes unfinished"},
	{IO, "ioctl", IF(IS(1, TUNSETQUEUE)), .reason = "which queues the driver serves",
	 .unseen = "NICs with several queues"},

	/* vhost-net: descriptors of it come with a tap's, if the host's settings want that. Owner
	   and memory are set once, the rings by the thread that would serve them itself. */
	{MAIN, "ioctl", IF(IS(1, VHOST_GET_FEATURES)), .reason = "vhost-net: what it can"},
	{MAIN, "ioctl", IF(IS(1, VHOST_SET_OWNER)), .reason = "vhost-net: whose memory it is"},
	{MAIN, "ioctl", IF(IS(1, VHOST_SET_MEM_TABLE)), .reason = "vhost-net: where that is"},
	{IO, "ioctl", IF(IS(1, VHOST_SET_FEATURES)), .reason = "vhost-net: what the driver knows"},
	{IO, "ioctl", IF(IS(1, VHOST_SET_VRING_NUM)), .reason = "vhost-net: a ring's size"},
	{IO, "ioctl", IF(IS(1, VHOST_SET_VRING_ADDR)), .reason = "vhost-net: where it is"},
	{IO, "ioctl", IF(IS(1, VHOST_SET_VRING_BASE)), .reason = "vhost-net: where to begin"},
	{IO, "ioctl", IF(IS(1, VHOST_GET_VRING_BASE)), .reason = "vhost-net: how far it has come"},
	{IO, "ioctl", IF(IS(1, VHOST_SET_VRING_KICK)), .reason = "vhost-net: notifications"},
	{IO, "ioctl", IF(IS(1, VHOST_SET_VRING_CALL)), .reason = "vhost-net: interrupts"},
	{IO, "ioctl", IF(IS(1, VHOST_SET_VRING_ERR)), .reason = "vhost-net: rings that are broken"},
	{IO, "ioctl", IF(IS(1, VHOST_NET_SET_BACKEND)), .reason = "vhost-net: the tap, or none"},

	/* Memory: never executable, never a file. */
	{MAIN | IO, "brk", ANY, .reason = "the heap", .unseen = "allocations have to come so"},
	{MAIN | IO, "mmap", IF_BOTH(WITHOUT(2, PROT_EXEC), WITH(3, MAP_ANONYMOUS)),
	 .reason = "large blocks of the heap", .unseen = "the same"},
	{MAIN, "mremap", ANY, .reason = "large blocks that grow", .unseen = "the same"},
	{MAIN | IO, "munmap", ANY, .reason = "the same given back", .unseen = "the same"},
	{MAIN, "madvise", ANY, .reason = "memory that the guest's balloon gives back",
	 .unseen = "the guest decides when"},

	/* Threads end, and with them the process, as the workload ended. */
	{VCPU, "rt_sigreturn", ANY, .reason = "back from the kick that interrupts KVM_RUN"},
	{MAIN, "tgkill", IF_BOTH(IS(0, FILTER_SELF), IS(2, SIGURG)), .reason = "that kick"},
	{ALL | FS, "rt_sigprocmask", ANY, .reason = "around the end of a thread"},
	{VCPU | IO | FS, "madvise", ANY, .reason = "a thread's stack is given back"},
	{VCPU | IO | FS, "exit", ANY, .reason = "a thread ends"},
	{MAIN, "rt_sigaction", IF(IS(0, SIGPIPE)), .reason = "to die by it, as the workload did"},
	{MAIN, "kill", IF(IS(0, FILTER_SELF)), .reason = "to die by the workload's signal"},
	{MAIN, "exit_group", ANY, .reason = "the end"},
};

#endif
