#include "runtime/console.h"

#include "common/cleanup.h"
#include "common/pass_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TERMINALS "/dev/ptmx"

static int open_pair(int *master, int *tty, struct error *err)
{
	cleanup_fd int fd = open(TERMINALS, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios raw;
	int unlock = 0;

	if (fd < 0)
		return error_set(err, errno, "open " TERMINALS);
	if (ioctl(fd, TIOCSPTLCK, &unlock) < 0)
		return error_set(err, errno, "unlock a terminal");
	/* By ioctl: the name in /dev/pts may belong to another instance of devpts. */
	*tty = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*tty < 0)
		return error_set(err, errno, "open a terminal");
	if (tcgetattr(*tty, &raw) == 0) {
		cfmakeraw(&raw);
		tcsetattr(*tty, TCSANOW, &raw);
	}
	*master = take_fd(&fd);
	return 0;
}

int console_send(const char *path, int *tty_fd, struct error *err)
{
	cleanup_fd int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cleanup_fd int master = -1, tty = -1;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int ret;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, ENAMETOOLONG, "console socket %s", path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (sock < 0 || connect(sock, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set(err, errno, "console socket %s", path);
	ret = open_pair(&master, &tty, err);
	if (ret < 0)
		return ret;
	ret = pass_fd(sock, master, TERMINALS, strlen(TERMINALS), 0);
	if (ret < 0)
		return error_set(err, -ret, "send the terminal to console socket %s", path);
	*tty_fd = take_fd(&tty);
	return 0;
}

/* Returns false at the end of what can be read or written. */
static bool pass_on(int from, int to)
{
	char bytes[4096];
	ssize_t len = read(from, bytes, sizeof(bytes));

	for (ssize_t done = 0, n; done < len; done += n) {
		n = write(to, bytes + done, (size_t)(len - done));
		if (n < 0 && errno != EINTR)
			return false;
		n = n < 0 ? 0 : n;
	}
	return len > 0 || (len < 0 && errno == EINTR);
}

/* Until the terminal has no other end any more. Nobody can end it by a key: signals stay blocked.
 */
static _Noreturn void relay(int master)
{
	struct pollfd fds[2] = {
		{.fd = master, .events = POLLIN},
		{.fd = STDIN_FILENO, .events = POLLIN},
	};
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	while (poll(fds, 2, -1) >= 0) {
		if (fds[0].revents && !pass_on(master, STDOUT_FILENO))
			break;
		if (fds[1].revents && !pass_on(STDIN_FILENO, master))
			fds[1].fd = -1;
	}
	_exit(0);
}

static int start_relay(struct console *console, int master, struct error *err)
{
	console->relay = fork();
	if (console->relay < 0) {
		console->relay = 0;
		return error_set(err, errno, "fork");
	}
	if (console->relay > 0)
		return 0;
	/* No lock, no socket and not the pair's other end is its own. */
	if (dup2(master, STDERR_FILENO) < 0)
		_exit(1);
	close_range(STDERR_FILENO + 1, ~0u, 0);
	relay(STDERR_FILENO);
}

int console_open(struct console *console, int *tty_fd, struct error *err)
{
	cleanup_fd int master = -1;
	int ret;

	console->fd = -1;
	if (isatty(STDIN_FILENO)) {
		console->fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
		return console->fd < 0 ? error_set(err, errno, "stdin") : 0;
	}
	ret = open_pair(&master, tty_fd, err);
	if (ret == 0 && (ret = start_relay(console, master, err)) < 0)
		close_fd(tty_fd);
	return ret;
}

void console_set_raw(struct console *console)
{
	struct termios raw;

	if (console->fd < 0 || tcgetattr(console->fd, &console->saved) < 0)
		return;
	raw = console->saved;
	cfmakeraw(&raw);
	console->raw = tcsetattr(console->fd, TCSANOW, &raw) == 0;
}

bool console_size(const struct console *console, uint16_t *rows, uint16_t *columns)
{
	struct winsize size;

	if (console->fd < 0 || ioctl(console->fd, TIOCGWINSZ, &size) < 0 || size.ws_row == 0)
		return false;
	*rows = size.ws_row;
	*columns = size.ws_col;
	return true;
}

void console_describe_size(const struct console *console, json_t *process)
{
	uint16_t rows, columns;

	if (console_size(console, &rows, &columns) && !json_object_get(process, "consoleSize"))
		json_object_set_new(process, "consoleSize",
				    json_pack("{s:i, s:i}", "height", rows, "width", columns));
}

void console_close(struct console *console)
{
	if (console->raw)
		tcsetattr(console->fd, TCSADRAIN, &console->saved);
	console->raw = false;
	close_fd(&console->fd);
	while (console->relay > 0 && waitpid(console->relay, NULL, 0) < 0 && errno == EINTR)
		;
	console->relay = 0;
}
