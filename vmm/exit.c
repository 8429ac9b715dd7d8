#include "vmm/exit.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void die_by(int sig)
{
	struct rlimit none = {0, 0};
	sigset_t set;

	/* The core would be the VMM's, not the workload's, with the guest's memory beside it. */
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	kill(getpid(), sig);
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
