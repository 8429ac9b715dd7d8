#include "runtime/container_internal.h"
#include "runtime/file.h"
#include "runtime/vm_hold.h"
#include "runtime/vmm_process.h"

#include "common/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* A listening socket in the state folder, bound by the folder's descriptor (sun_path is short). */
static int listen_in(int dir_fd, const char *name, struct error *err)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (fd < 0)
		return error_set(err, errno, "socket");
	/* There is one when the VM is started a second time. */
	unlinkat(dir_fd, name, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0)
		return error_set(err, errno, "make socket %s", name);
	return take_fd(&fd);
}

/* Layers stay as they are: the host's page cache is what their containers share. */
bool container_wants_direct_io(const struct settings *settings)
{
	const char *how = settings_text(settings, "disk-io");

	return how && !strcmp(how, "direct");
}

static int launch(struct container *container, const struct making *making, struct error *err)
{
	const struct globals *globals = making->globals;
	cleanup_fd int control_fd = listen_in(container->state.dir_fd, STATE_CONTROL_SOCKET, err);
	cleanup_fd int vsock_fd = listen_in(container->state.dir_fd, STATE_VSOCK_SOCKET, err);
	cleanup_fd int oom_fd = state_open_oom(&container->state);
	cleanup_fd int root_fd = shared_root_clone(&container->shared_root, &container->bundle,
						   err);
	cleanup_fd int activity_fd = root_fd < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cleanup_fd int vmm_end = -1;
	cleanup_fd int vmm_hold_end = -1;
	struct vmm_options options = {
		.id = container->state.id,
		.config = container->bundle.config,
		.placement = &container->placement,
		.size = &container->size,
		.images = &making->images,
		.disks = &container->disks,
		.direct_io = container_wants_direct_io(&globals->settings),
		.nics = container->slots.nics,
		.user_net = container->slots.user,
		.io_threads = settings_text(&globals->settings, "io-threads"),
		.shares = &container->shares,
		.root_fd = root_fd,
		.dir_fd = container->state.dir_fd,
		.activity_fd = activity_fd,
		.vsock_fd = vsock_fd,
		.control_fd = control_fd,
		.tty_fd = making->tty_fd,
		.oom_fd = oom_fd,
		.log_fd = globals->log_fd,
		.log_json = globals->log_json,
		.debug = globals->debug,
		.cmdline = making->shape.cmdline,
		.relax = getenv("BULKHEAD_RELAX"),
		.state_fd = making->template.state_fd,
		.memory_fd = making->template.memory_fd,
		.pages_fd = making->template.pages_fd,
		.restore = container->restored,
	};
	int pair[2], ret;
	pid_t pid;

	if (container->restored) {
		options.state_fd = making->snapshot.state_fd;
		options.memory_fd = making->snapshot.memory_fd;
	}
	if (control_fd < 0 || vsock_fd < 0 || (root_fd < 0 && root_fd != -ENODATA))
		return error_set(err, ENOMEM, "start the VMM");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_set(err, errno, "socketpair");
	control_adopt(&container->control, pair[0]);
	options.parent_fd = vmm_end = pair[1];
	/* In the foreground somebody waits for the end. */
	if (container->console)
		container->hold_fd = vm_hold_open(&vmm_hold_end);
	options.hold_fd = vmm_hold_end;
	ret = shares_prepare(&container->shares, &container->binds, &container->shared_root, err);
	if (ret < 0)
		return ret;
	pid = vmm_start(&container->files, &options, err);
	shares_destroy(&container->shares);
	if (pid < 0)
		return pid;
	ret = state_set_process(&container->state, pid, err);
	/* With systemd its folder is known only now. */
	json_object_set_new(container->state.doc, "cgroup",
			    cgroup_save(&container->placement.cgroup));
	json_object_set_new(
		container->state.doc, "vm",
		snapshot_describe_vm(&container->size, &making->images, container->slots.nics));
	return ret < 0 ? ret : state_save(&container->state, err);
}

/*
 * The layers were taken for what they were known to be; whether they still are is found out while
 * the VM boots. Hardly ever are they not: then all of it again, with what is true now.
 */
int container_launch(struct container *container, struct making *making, struct error *err)
{
	const struct globals *globals = making->globals;
	int ret = launch(container, making, err);

	if (ret == 0)
		ret = images_confirm(&making->images, err);
	if (ret != -ESTALE)
		return ret;
	error_clear(err);
	ret = state_kill_process(&container->state, err);
	control_close(&container->control);
	if (ret < 0)
		return ret;
	waitpid(container->state.pid, NULL, 0);
	images_destroy(&making->images);
	ret = images_make(&making->images, &container->bundle, &globals->settings,
			  &container->shared_root, false, err);
	return ret < 0 ? ret : launch(container, making, err);
}
