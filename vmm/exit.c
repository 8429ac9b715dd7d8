#include "vmm/exit.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t self;

void exit_prepare(void)
{
	self = getpid();
}

static void die_by(int sig)
{
	sigset_t set;

	/*
	 * No core is written, as the process is not dumpable: it would be the VMM's and not the
	 * workload's. SIGPIPE is ignored, others have their default, and SIGSYS is the filter's.
	 */
	if (sig == SIGPIPE)
		signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	kill(self, sig);
}

_Noreturn void exit_as(int status)
{
	if (!WIFSIGNALED(status))
		exit(WEXITSTATUS(status));
	die_by(WTERMSIG(status));
	/* A signal whose default is not to kill, or PID 1 of a namespace: as a shell would say it.
	 */
	exit(128 + WTERMSIG(status));
}
