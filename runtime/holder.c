#include "runtime/holder.h"
#include "runtime/signals.h"

#include "common/cleanup.h"

#include <endian.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void send_size(struct holder *holder)
{
	struct proto_resize body = {.process = htole32(holder->process)};
	struct winsize size;
	uint32_t id;

	if (holder->terminal_fd < 0 || ioctl(holder->terminal_fd, TIOCGWINSZ, &size) < 0 ||
	    (!size.ws_row && !size.ws_col))
		return;
	body.rows = htole16(size.ws_row);
	body.columns = htole16(size.ws_col);
	control_post(&holder->control, PROTO_RESIZE, &body, sizeof(body), &id, NULL);
}

static char *make_body(const json_t *process, size_t *len)
{
	const struct proto_exec head = {.holder = htole32((uint32_t)getpid())};
	json_t *document = json_pack("{s:O}", "process", process);
	cleanup_free char *json = document ? json_dumps(document, JSON_COMPACT) : NULL;
	size_t json_len = json ? strlen(json) : 0;
	char *body = json ? malloc(sizeof(head) + json_len) : NULL;

	json_decref(document);
	if (!body)
		return NULL;
	memcpy(body, &head, sizeof(head));
	/* No string. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
	memcpy(body + sizeof(head), json, json_len);
	*len = sizeof(head) + json_len;
	return body;
}

int holder_start(struct holder *holder, int dir_fd, const json_t *process, const int *fds,
		 unsigned int fd_count, struct error *err)
{
	size_t len = 0;
	cleanup_free char *body = make_body(process, &len);
	struct proto_process answer;
	struct proto_frame reply;
	int ret;

	if (!body)
		return error_set(err, ENOMEM, "make the request");
	holder->signal_fd = signals_open();
	if (holder->signal_fd < 0)
		return error_set(err, -holder->signal_fd, "signalfd");
	ret = control_connect(&holder->control, dir_fd, err);
	if (ret < 0)
		return ret;
	/* Before there is a process to send them to, they end the attempt. */
	holder->control.interrupt_fd = signals_open_ends();
	if (holder->control.interrupt_fd < 0)
		return error_set(err, -holder->control.interrupt_fd, "signalfd");
	/* In a paused container it starts when that is resumed, however long this takes. */
	ret = control_request_fds(&holder->control, PROTO_EXEC, body, len,
				  &(struct control_fds){fds, fd_count}, -1, &reply, err);
	if (ret == 0 && proto_decode_process(&reply, &answer) < 0)
		ret = error_say(err, EPROTO, "the VMM's answer is malformed");
	if (ret < 0)
		return ret;
	holder->process = answer.process;
	send_size(holder);
	return 0;
}

static void forward_signal(struct holder *holder)
{
	struct proto_signal body = {.process = htole32(holder->process)};
	struct signalfd_siginfo info;
	uint32_t id;

	if (read(holder->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH && holder->terminal_fd >= 0) {
		send_size(holder);
		return;
	}
	body.signal = htole32(info.ssi_signo);
	control_post(&holder->control, PROTO_SIGNAL, &body, sizeof(body), &id, NULL);
}

/* Returns 1 when *status is known, 0 when more has to be read, or a negative errno. */
static int take_end(struct holder *holder, int *status)
{
	struct proto_exited exited;
	struct proto_frame frame;
	int ret;

	while ((ret = proto_reader_next(&holder->control.reader, &frame)) > 0) {
		if (frame.type != PROTO_EXITED || proto_decode_exited(&frame, &exited) < 0 ||
		    exited.process != holder->process)
			continue;
		*status = (int)exited.status;
		return 1;
	}
	return ret;
}

int holder_wait(struct holder *holder)
{
	struct pollfd fds[2] = {
		{.fd = holder->control.fd, .events = POLLIN},
		{.fd = holder->signal_fd, .events = POLLIN},
	};
	int status = SIGKILL;
	/* It may have come with the answer already. */
	int ret = take_end(holder, &status);

	while (ret == 0) {
		if (poll(fds, 2, -1) < 0) {
			if (errno != EINTR)
				break;
			continue;
		}
		if (fds[1].revents)
			forward_signal(holder);
		if (!fds[0].revents)
			continue;
		ret = proto_reader_fill(&holder->control.reader, holder->control.fd);
		if (ret == 0)
			break;
		ret = ret < 0 ? ret : take_end(holder, &status);
	}
	return status;
}

void holder_destroy(struct holder *holder)
{
	control_close(&holder->control);
	close_fd(&holder->control.interrupt_fd);
	close_fd(&holder->signal_fd);
}
