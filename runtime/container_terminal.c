#include "runtime/container_internal.h"

static bool wants_terminal(const struct container *container)
{
	return json_is_true(json_at(container->bundle.config, "process", "terminal", NULL));
}

int container_check_terminal(const struct container *container,
			     const struct create_options *options, struct error *err)
{
	bool terminal = wants_terminal(container);

	if (!terminal && options->console_socket)
		return error_say(err, EINVAL,
				 "--console-socket needs process.terminal in the config");
	if (terminal && !options->console_socket && !options->foreground)
		return error_say(err, EINVAL,
				 "process.terminal: a container that is not in the foreground "
				 "needs --console-socket");
	return 0;
}

int container_open_terminal(struct container *container, const struct create_options *options,
			    int *tty_fd, struct error *err)
{
	int ret;

	if (!wants_terminal(container))
		return 0;
	if (options->console_socket)
		return console_send(options->console_socket, tty_fd, err);
	if (!container->console)
		return 0;
	ret = console_open(container->console, tty_fd, err);
	if (ret == 0)
		console_describe_size(container->console,
				      json_object_get(container->bundle.config, "process"));
	return ret;
}
