#include "runtime/root_keeper.h"
#include "runtime/companion.h"
#include "runtime/control_client.h"
#include "runtime/orphan.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/event.h"
#include "common/forget.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LONGEST	  1000 /* ms of events without a pause: then the guest is told as well */
#define QUIET	  20   /* ms without an event: whoever was at it has done its work */
#define ASK_LIMIT 2000 /* ms for the guest to forget */

#define CHANGED "{\"root\":\"changed\"}"

enum { ROOT_FD = 3, DIR_FD, EVENT_FD, ACTIVITY_FD, VMM_FD };

/* What happened is of no interest, only that something did. */
static void drain(void)
{
	struct fanotify_event_metadata events[64];
	ssize_t len;

	while ((len = read(EVENT_FD, events, sizeof(events))) > 0)
		for (struct fanotify_event_metadata *event = events; FAN_EVENT_OK(event, len);
		     event = FAN_EVENT_NEXT(event, len))
			if (event->fd >= 0)
				close(event->fd);
}

static bool happens(int timeout_ms)
{
	struct pollfd events = {.fd = EVENT_FD, .events = POLLIN};

	return poll(&events, 1, timeout_ms) > 0;
}

/* A guest that does not answer is its own affair. */
static void tell_guest(void)
{
	struct control control = CONTROL_INIT;

	if (control_connect(&control, DIR_FD, NULL) == 0)
		control_request(&control, PROTO_UPDATE, CHANGED, strlen(CHANGED), ASK_LIMIT, NULL,
				NULL);
	control_close(&control);
}

static void tell_guest_later(void)
{
	uint64_t end = monotonic_ns() + LONGEST * 1000000ull;

	do
		drain();
	while (monotonic_ns() < end && happens(QUIET));
	tell_guest();
}

static void __attribute__((noreturn)) keep(void)
{
	struct pollfd fds[] = {{.fd = EVENT_FD, .events = POLLIN},
			       {.fd = ACTIVITY_FD, .events = POLLIN},
			       {.fd = VMM_FD, .events = POLLIN}};

	for (;;) {
		if (poll(fds, 3, -1) < 0)
			continue;
		if (fds[2].revents)
			_exit(0);
		if (fds[1].revents && event_take(ACTIVITY_FD))
			forget_names(ROOT_FD);
		if (fds[0].revents)
			tell_guest_later();
	}
}

struct keeper {
	int root_fd, dir_fd, activity_fd;
};

static void run(struct companion *companion, void *ctx)
{
	const struct keeper *keeper = ctx;
	int event_fd, dir_fd, vmm_fd;

	companion->step = "watch the VMM";
	vmm_fd = (int)syscall(SYS_pidfd_open, getppid(), 0);
	if (vmm_fd < 0)
		return;
	companion->step = "watch the engine's overlay";
	event_fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK,
				 O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (event_fd < 0 || fanotify_mark(event_fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM,
					  FAN_CLOSE | FAN_ONDIR, keeper->root_fd, ".") < 0)
		return;
	companion->step = "open the state folder";
	/* Opened anew: the runtime's descriptor has the container's lock. */
	dir_fd = openat(keeper->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return;
	prctl(PR_SET_NAME, "bulkhead-root");
	companion_ready(companion);
	/* Not before that: the numbers may be in use. */
	if (orphan_keep((int[]){keeper->root_fd, dir_fd, event_fd, keeper->activity_fd, vmm_fd},
			5) < 0)
		_exit(127);
	keep();
}

int root_keeper_start(int root_fd, int dir_fd, int activity_fd, const char **step)
{
	struct keeper keeper = {root_fd, dir_fd, activity_fd};

	*step = "start the shared root's keeper";
	return root_fd < 0 ? 0 : companion_start(0, run, &keeper, step);
}
