/*
 * bulkhead-vmm: the process that is a container on the host, and the virtual machine that is the
 * container (docs/interfaces.md).
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "vmm/exit.h"
#include "vmm/filter.h"
#include "vmm/jail.h"
#include "vmm/options.h"
#include "vmm/probe.h"
#include "vmm/stdio.h"
#include "vmm/supervisor.h"

static int probe(void)
{
	struct error err = {0};

	if (probe_host(&err) == 0)
		return 0;
	fprintf(stderr, "bulkhead-vmm: %s\n", err.message);
	return 1;
}

/* Every thread starts with all signals blocked; the loop reads them from a signalfd. */
static void block_signals(void)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
	sigset_t set;

	sigfillset(&set);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&set, faults[i]);
	sigprocmask(SIG_SETMASK, &set, NULL);
	/* Whoever started us may have had these ignored, and exec keeps that. */
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
	uint64_t started_ns = monotonic_ns();
	struct vmm_options options;
	struct error err = {0};
	struct stdio stdio;
	int log_fd, status;

	options_parse(&options, argc, argv);
	if (options.probe)
		return probe();
	if (options.list_calls) {
		filter_print_calls();
		return fflush(stdout) == EOF;
	}
	exit_prepare();
	block_signals();
	if (jail_close_others(options.fds, options.fd_count, &err) < 0) {
		fprintf(stderr, "bulkhead-vmm: %s\n", err.message);
		return EXIT_VMM_FAILED;
	}
	/* stderr may become the container's: the log keeps a copy of its own. */
	log_fd = fcntl(options.log_fd >= 0 ? options.log_fd : STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	log_open(log_fd >= 0 ? log_fd : STDERR_FILENO, options.log_json,
		 options.debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if (options.log_fd > STDERR_FILENO)
		close(options.log_fd);
	if (stdio_take(&stdio, options.stdio, &err) < 0) {
		log_error("%s: %s", options.id, err.message);
		return EXIT_VMM_FAILED;
	}
	status = supervisor_run(&options, &stdio, started_ns);
	stdio_destroy(&stdio);
	if (log_fd >= 0)
		close(log_fd);
	exit_as(status);
}
