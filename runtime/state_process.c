/* The VMM that a state names: found again, waited for, killed. */
#include "runtime/state.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/proc.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KILL_LIMIT 10000 /* ms */

/* Field 22 of stat; the second may hold spaces and parentheses. */
static int read_start_time(pid_t pid, unsigned long long *start_time)
{
	char text[1024];
	const char *at;

	if (proc_read(pid, "stat", text, sizeof(text)) <= 0 || !(at = strrchr(text, ')')) ||
	    sscanf(at + 1,
		   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
		   "%*d %llu",
		   start_time) != 1)
		return -ESRCH;
	return 0;
}

/* A zombie has ended. Its first thread alone may be one before the others, so stat does not tell.
 */
static bool has_ended(int pid_fd)
{
	struct pollfd end = {.fd = pid_fd, .events = POLLIN};

	return poll(&end, 1, 0) > 0;
}

int state_set_process(struct state *state, pid_t pid, struct error *err)
{
	unsigned long long start_time;

	if (read_start_time(pid, &start_time) < 0)
		return error_say(err, ESRCH, "bulkhead-vmm ended at once");
	state->pid = pid;
	state->start_time = start_time;
	json_object_set_new(state->doc, "pid", json_integer(pid));
	json_object_set_new(state->doc, "startTime", json_integer((json_int_t)start_time));
	return 0;
}

int state_open_process(const struct state *state)
{
	unsigned long long start_time;
	int fd;

	if (state->pid <= 0)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, state->pid, 0);
	if (fd < 0)
		return -ESRCH;
	/* The descriptor is held first: what it names cannot change while the check is made. */
	if (read_start_time(state->pid, &start_time) < 0 || start_time != state->start_time ||
	    has_ended(fd)) {
		close(fd);
		return -ESRCH;
	}
	return fd;
}

int state_wait_process(const struct state *state, int timeout_ms)
{
	cleanup_fd int fd = state_open_process(state);
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	uint64_t end = monotonic_ns() + (uint64_t)timeout_ms * 1000000u;

	while (fd >= 0) {
		uint64_t now = monotonic_ns();
		int ret;

		if (now >= end)
			return -ETIMEDOUT;
		ret = poll(&wait, 1, (int)((end - now) / 1000000u) + 1);
		if (ret > 0 || (ret < 0 && errno != EINTR))
			break;
	}
	return 0;
}

int state_kill_process(const struct state *state, struct error *err)
{
	cleanup_fd int fd = state_open_process(state);

	if (fd < 0)
		return 0;
	if (syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return error_set(err, errno, "kill the VM of container %s", state->id);
	if (state_wait_process(state, KILL_LIMIT) < 0)
		return error_say(err, ETIMEDOUT, "the VM of container %s (pid %d) survives SIGKILL",
				 state->id, state->pid);
	return 0;
}
