#include "runtime/container.h"
#include "runtime/delegate.h"
#include "runtime/file.h"
#include "runtime/hooks.h"
#include "runtime/images.h"
#include "runtime/pod.h"
#include "runtime/scratch.h"
#include "runtime/seccomp_filter.h"
#include "runtime/teardown.h"
#include "runtime/template.h"
#include "runtime/template_pages.h"
#include "runtime/vm_hold.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ms. The VMM gives up earlier and says why; a host on which all starts at once is slow, not stuck.
 */
#define CREATE_LIMIT   180000
#define START_LIMIT    180000
#define TEMPLATE_LIMIT 2000

int container_block_signals(struct container *container, struct error *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	container->control.interrupt_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (container->control.interrupt_fd < 0)
		return error_set(err, errno, "signalfd");
	return 0;
}

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

static void describe(struct container *container)
{
	json_t *doc = container->state.doc;
	json_t *config = container->bundle.config;
	struct timespec now;
	struct tm tm;
	char created[64];
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	len = strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(created + len, sizeof(created) - len, ".%09ldZ", now.tv_nsec);
	json_object_set(doc, "ociVersion", json_object_get(config, "ociVersion"));
	json_object_set_new(doc, "id", json_string(container->state.id));
	json_object_set_new(doc, "bundle", json_string(container->bundle.path));
	json_object_set_new(doc, "rootfs", json_string(container->bundle.rootfs));
	json_object_set_new(doc, "created", json_string(created));
	json_object_set(doc, "annotations", json_object_get(config, "annotations"));
	state_set_phase(&container->state, "creating");
}

/* The kernel's command line from the settings and, for the lab, from the environment. */
static char *make_cmdline(const struct settings *settings)
{
	const char *own = settings_text(settings, "kernel-cmdline");
	const char *lab = getenv("BULKHEAD_CMDLINE");

	return format("%s%s%s", own ? own : "", own && lab ? " " : "", lab ? lab : "");
}

static int launch(struct container *container, const struct globals *globals,
		  const struct images *images, const char *cmdline, const struct template *template,
		  int tty_fd, struct error *err)
{
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
		.images = images,
		.disks = &container->disks,
		.nics = container->slots.nics,
		.user_net = container->slots.user,
		.shares = &container->shares,
		.root_fd = root_fd,
		.dir_fd = container->state.dir_fd,
		.activity_fd = activity_fd,
		.vsock_fd = vsock_fd,
		.control_fd = control_fd,
		.tty_fd = tty_fd,
		.oom_fd = oom_fd,
		.log_fd = globals->log_fd,
		.log_json = globals->log_json,
		.debug = globals->debug,
		.cmdline = cmdline,
		.relax = getenv("BULKHEAD_RELAX"),
		.state_fd = template->state_fd,
		.memory_fd = template->memory_fd,
		.pages_fd = template->pages_fd,
	};
	int pair[2], ret;
	pid_t pid;
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
	return ret < 0 ? ret : state_save(&container->state, err);
}

/*
 * The layers were taken for what they were known to be; whether they still are is found out while
 * the VM boots. Hardly ever are they not: then all of it again, with what is true now.
 */
static int launch_confirmed(struct container *container, const struct globals *globals,
			    struct images *images, const char *cmdline,
			    const struct template *template, int tty_fd, struct error *err)
{
	int ret = launch(container, globals, images, cmdline, template, tty_fd, err);

	if (ret == 0)
		ret = images_confirm(images, err);
	if (ret != -ESTALE)
		return ret;
	error_clear(err);
	ret = state_kill_process(&container->state, err);
	control_close(&container->control);
	if (ret < 0)
		return ret;
	waitpid(container->state.pid, NULL, 0);
	images_destroy(images);
	ret = images_make(images, &container->bundle, &globals->settings, &container->shared_root,
			  false, err);
	return ret < 0 ? ret : launch(container, globals, images, cmdline, template, tty_fd, err);
}

/* Where the VMM will be. What is made is in the state before: whatever ends us, delete finds it. */
static int prepare_place(struct container *container, const struct globals *globals,
			 struct error *err)
{
	const json_t *config = container->bundle.config;
	int ret = placement_prepare(&container->placement, globals->cgroup_manager, config,
				    container->state.id, err);

	if (ret == 0)
		ret = network_plan(&container->slots, &container->placement, &globals->settings,
				   container->size.vcpus, err);
	if (ret < 0)
		return ret;
	json_object_set_new(container->state.doc, "network",
			    network_save(&container->slots, &globals->settings));
	json_object_set_new(container->state.doc, "cgroup",
			    cgroup_save(&container->placement.cgroup));
	json_object_set(container->state.doc, "hooks", json_object_get(config, "hooks"));
	ret = state_save(&container->state, err);
	return ret < 0 ? ret : cgroup_make(&container->placement.cgroup, err);
}

static int limit_memory(const struct container *container, struct error *err)
{
	return cgroup_set_memory(&container->placement.cgroup,
				 json_at(container->bundle.config, "linux", "resources", NULL),
				 vm_size_host_memory(&container->size), err);
}

/* CPU time and I/O are limited once the guest is up: start-up is not the workload's. */
static int limit_rest(const struct container *container, struct error *err)
{
	const json_t *resources = json_at(container->bundle.config, "linux", "resources", NULL);
	const struct cgroup *cgroup = &container->placement.cgroup;
	int ret = cgroup_set_cpu(cgroup, resources, err);

	if (ret == 0)
		ret = cgroup_set_io(cgroup, resources, err);
	return ret < 0 ? ret : cgroup_set_unified(cgroup, resources, err);
}

/* While the guest boots. The VMM's network namespace is all that a container has on the host. */
static int run_create_hooks(const struct container *container, struct error *err)
{
	const struct state *state = &container->state;
	int interrupt_fd = container->control.interrupt_fd;
	int ret = hooks_run(state, "prestart", "creating", false, interrupt_fd, err);

	if (ret == 0)
		ret = hooks_run(state, "createRuntime", "creating", false, interrupt_fd, err);
	if (ret == 0)
		ret = hooks_run(state, "createContainer", "creating", true, interrupt_fd, err);
	return ret;
}

/* The seccomp profile goes compiled; leaving its source out keeps the body far below its limit. */
static json_t *agent_config(const struct container *container)
{
	json_t *config = json_copy(container->bundle.config);
	json_t *linux_ = json_copy(json_object_get(config, "linux"));

	if (linux_) {
		json_object_del(linux_, "seccomp");
		json_object_set_new(config, "linux", linux_);
	}
	if (container->binds.mounts)
		json_object_set(config, "mounts", container->binds.mounts);
	return config;
}

static json_t *describe_rootfs(const struct container *container, const struct images *images)
{
	json_t *rootfs = images_describe(images);

	/* The last of the shares (shares.h). */
	if (shared_root_used(&container->shared_root))
		json_object_set_new(rootfs, "upper",
				    shared_root_describe(&container->shared_root,
							 container->binds.share_count));
	return rootfs;
}

static char *create_body(const struct container *container, const struct images *images,
			 json_t *seccomp)
{
	json_t *body;
	char *text;

	body = json_pack("{s:s, s:s, s:o, s:o, s:O}", "id", container->state.id, "bundle",
			 container->bundle.path, "config", agent_config(container), "rootfs",
			 describe_rootfs(container, images), "binds", container->binds.how);
	if (seccomp)
		json_object_set(body, "seccomp", seccomp);
	if (container->disks.how)
		json_object_set(body, "devices", container->disks.how);
	text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	return text;
}

static int send_create(struct container *container, const struct images *images, json_t *seccomp,
		       struct error *err)
{
	cleanup_free char *body = create_body(container, images, seccomp);
	int ret;

	if (!body)
		return error_set(err, ENOMEM, "make the request");
	if (strlen(body) > PROTO_BODY_MAX)
		return error_say(err, EMSGSIZE,
				 "%s/" CONFIG_FILE " is too large: %zu bytes, %u can be sent",
				 container->bundle.path, strlen(body), PROTO_BODY_MAX);
	ret = control_request(&container->control, PROTO_CREATE, body, strlen(body), CREATE_LIMIT,
			      NULL, err);
	if (ret < 0)
		return ret;
	state_set_phase(&container->state, "created");
	return state_save(&container->state, err);
}

static int write_pid_file(const struct container *container, const char *path, struct error *err)
{
	char text[16];

	if (!path)
		return 0;
	snprintf(text, sizeof(text), "%d", container->state.pid);
	return file_replace(AT_FDCWD, path, 0644, text, strlen(text), err);
}

static bool wants_terminal(const struct container *container)
{
	return json_is_true(json_at(container->bundle.config, "process", "terminal", NULL));
}

static int check_terminal(const struct container *container, const struct create_options *options,
			  struct error *err)
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

/* Which terminal there is: none, the engine's by socket, or the caller's own streams. */
static int prepare_terminal(struct container *container, const struct create_options *options,
			    int *tty_fd, struct error *err)
{
	json_t *process = json_object_get(container->bundle.config, "process");
	uint16_t rows, columns;
	int ret;

	if (!wants_terminal(container))
		return 0;
	if (options->console_socket)
		return console_send(options->console_socket, tty_fd, err);
	if (!container->console)
		return 0;
	ret = console_open(container->console, tty_fd, err);
	if (ret < 0)
		return ret;
	if (console_size(container->console, &rows, &columns) &&
	    !json_object_get(process, "consoleSize"))
		json_object_set_new(process, "consoleSize",
				    json_pack("{s:i, s:i}", "height", rows, "width", columns));
	return 0;
}

static bool template_wanted(const struct settings *settings)
{
	const char *text = settings_text(settings, "template");

	return !text || strcmp(text, "off") != 0;
}

/*
 * For container_start, when more of its pages have been written. (A clone with shares has copies of
 * all.)
 */
static void note_template(struct container *container, const struct template *template)
{
	json_object_set_new(container->state.doc, "template", json_string(template->name));
	state_save(&container->state, NULL);
}

/* One that was missing or did not fit is made for the next time. */
static void tend_template(struct container *container, const struct template *template,
			  const struct template_shape *shape)
{
	struct proto_status status;

	if (template->state_fd >= 0) {
		if (control_status(&container->control, &status, TEMPLATE_LIMIT, NULL) < 0 ||
		    status.template_use != PROTO_TEMPLATE_REFUSED) {
			if (template->pages_fd < 0 && !shape->shares)
				note_template(container, template);
			return;
		}
		template_discard(template);
	}
	template_make_later(template, shape);
}

/* The VM's own. */
static unsigned int disk_count(const struct images *images)
{
	return images->scratch_fd >= 0 ? 2 : 1;
}

static int make(struct container *container, const struct globals *globals,
		const struct create_options *options, json_t *seccomp, struct error *err)
{
	cleanup_images struct images images = IMAGES_INIT;
	cleanup_template struct template template = TEMPLATE_INIT;
	cleanup_free char *cmdline = make_cmdline(&globals->settings);
	struct template_shape shape = {
		.files = &container->files,
		.size = &container->size,
		.cmdline = cmdline && *cmdline ? cmdline : NULL,
		.lowers = 1,
	};
	bool wanted = template_wanted(&globals->settings);
	cleanup_fd int tty_fd = -1;
	int ret;

	describe(container);
	ret = shared_root_make(&container->shared_root, err);
	if (ret == 0 && shared_root_used(&container->shared_root))
		json_object_set_new(container->state.doc, "upper",
				    shared_root_save(&container->shared_root));
	if (ret == 0)
		ret = state_save(&container->state, err);
	if (ret == 0)
		ret = images_make(&images, &container->bundle, &globals->settings,
				  &container->shared_root, true, err);
	container->images_ns = monotonic_ns();
	if (images.scratch_fd >= 0)
		container->size.disk_bytes = scratch_memory(images.scratch_fd);
	else
		container->size.disk_bytes = shared_root_memory(&container->shared_root);
	if (ret == 0 &&
	    disks_describe(&container->disks, &container->bundle, disk_count(&images)) < 0)
		ret = error_set(err, ENOMEM, "linux.devices");
	if (ret == 0)
		ret = prepare_terminal(container, options, &tty_fd, err);
	if (ret == 0)
		ret = prepare_place(container, globals, err);
	shape.scratch = images.scratch_fd >= 0;
	shape.nics = container->slots.nics;
	shape.user_net = container->slots.user;
	shape.shares = container->binds.share_count || shared_root_used(&container->shared_root);
	/* A template has drives for the VM's own disks only. */
	wanted = wanted && container->disks.count == 0;
	if (wanted && template_find(&template, &shape, NULL) < 0)
		wanted = false;
	if (ret == 0)
		ret = limit_memory(container, err);
	if (ret == 0)
		ret = launch_confirmed(container, globals, &images, shape.cmdline, &template,
				       tty_fd, err);
	/* A scope has had its limit from the beginning, but for swap. */
	if (ret == 0 && container->placement.cgroup.scope)
		ret = limit_memory(container, err);
	if (ret == 0)
		ret = run_create_hooks(container, err);
	if (ret == 0)
		ret = send_create(container, &images, seccomp, err);
	if (ret == 0)
		ret = limit_rest(container, err);
	if (ret == 0)
		ret = rates_send(&container->rates, &container->control, container->slots.nics,
				 disk_count(&images) + (unsigned int)container->disks.count, err);
	if (ret == 0)
		ret = write_pid_file(container, options->pid_file, err);
	if (ret == 0 && wanted)
		tend_template(container, &template, &shape);
	return ret;
}

/*
 * When the VMM ended without a word its exit status is all there is to tell; when KVM failed it, a
 * trial may say more.
 */
static void explain_end(const struct container *container, int ret, struct error *err)
{
	struct error probe = {0};
	int status;

	if (ret == -ENODEV && vmm_probe(container->files.vmm, &probe) < 0) {
		*err = probe;
		return;
	}
	if (ret != -ECONNRESET || container->state.pid <= 0 ||
	    state_wait_process(&container->state, 1000) < 0 ||
	    waitpid(container->state.pid, &status, WNOHANG) <= 0)
		return;
	error_clear(err);
	if (WIFSIGNALED(status))
		error_say(err, ECONNRESET, "bulkhead-vmm was ended by signal %d (%s)",
			  WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		error_say(err, ECONNRESET, "bulkhead-vmm ended with exit code %d",
			  WEXITSTATUS(status));
}

/* All that can be found out before anything is made. */
static int prepare(struct container *container, const struct globals *globals,
		   const struct create_options *options, json_t **seccomp, struct error *err)
{
	int ret = bundle_load(&container->bundle, err);

	if (ret == 0)
		ret = vm_size_find(&container->size, &container->bundle, &globals->settings, err);
	if (ret == 0)
		ret = rates_read(&container->rates, &globals->settings, err);
	if (ret == 0)
		ret = binds_prepare(&container->binds, &container->bundle, err);
	if (ret == 0)
		ret = disks_open(&container->disks, &container->bundle, err);
	if (ret == 0)
		ret = shared_root_find(&container->shared_root, &container->bundle,
				       &globals->settings, err);
	if (ret == 0)
		ret = check_terminal(container, options, err);
	if (ret == 0)
		ret = seccomp_filter_compile(container->bundle.config, seccomp, err);
	if (ret == 0) {
		vmm_find_files(&container->files, &globals->settings);
		ret = vmm_files_check(&container->files, err);
	}
	container->config_ns = monotonic_ns();
	return ret;
}

static int create_vm(struct container *container, const struct globals *globals,
		     const struct create_options *options, struct error *err)
{
	json_t *seccomp = NULL;
	int ret = prepare(container, globals, options, &seccomp, err);

	if (ret == 0)
		ret = state_create(&container->state, globals->root, options->id, err);
	if (ret == 0) {
		ret = make(container, globals, options, seccomp, err);
		if (ret < 0) {
			explain_end(container, ret, err);
			container_discard(container);
		}
	}
	json_decref(seccomp);
	return ret;
}

/* A pod's sandbox runs nothing of the user's, unless the settings say that it has a VM too. */
static bool wants_vm(const struct settings *settings, const json_t *config)
{
	const char *isolation = settings_text(settings, "isolation");

	if (pod_is_sandbox(config) && !settings_annotated_text(settings, "isolation"))
		isolation = settings_text(settings, "pod-sandbox") ?: "process";
	return !isolation || strcmp(isolation, "process") != 0;
}

int container_create(struct container *container, struct globals *globals,
		     const struct create_options *options, struct error *err)
{
	int ret = state_check_id(options->id, err);

	if (ret == 0)
		ret = bundle_read(&container->bundle, options->bundle, err);
	if (ret == 0)
		ret = settings_annotate(&globals->settings, container->bundle.config, err);
	if (ret < 0)
		return ret;
	container->delegated = !wants_vm(&globals->settings, container->bundle.config);
	if (container->delegated)
		return delegate_create(globals, options->id, options->stays, err);
	pod_adapt(container->bundle.config);
	return create_vm(container, globals, options, err);
}

int container_start(struct container *container, struct error *err)
{
	const char *template = json_string_value(json_object_get(container->state.doc, "template"));
	int ret = network_join(&container->control, container->state.pid,
			       json_object_get(container->state.doc, "network"), err);

	if (ret == 0)
		ret = control_request(&container->control, PROTO_START, NULL, 0, START_LIMIT, NULL,
				      err);
	if (ret < 0)
		return ret;
	if (template)
		template_record_pages(template, container->state.pid);
	state_set_phase(&container->state, "running");
	ret = state_save(&container->state, err);
	if (ret == 0)
		hooks_run_anyway(&container->state, "poststart", "running");
	return ret;
}

void container_discard(struct container *container)
{
	struct error err = {0};
	int ret = state_kill_process(&container->state, &err);

	control_close(&container->control);
	if (container->state.pid > 0)
		waitpid(container->state.pid, NULL, WNOHANG);
	/* Before the control group goes: a thread of KVM's is in it as long as the VM is there. */
	close_fd(&container->hold_fd);
	close_fd(&container->shared_root.work_fd);
	if (ret == 0)
		ret = teardown(&container->state, &err);
	if (ret < 0)
		log_warn("container %s is left behind, delete --force removes it: %s",
			 container->state.id, err.message);
}

void container_destroy(struct container *container)
{
	close_fd(&container->hold_fd);
	control_close(&container->control);
	close_fd(&container->control.interrupt_fd);
	shares_destroy(&container->shares);
	shared_root_destroy(&container->shared_root);
	binds_destroy(&container->binds);
	disks_close(&container->disks);
	bundle_destroy(&container->bundle);
	vmm_files_destroy(&container->files);
	placement_destroy(&container->placement);
	state_destroy(&container->state);
}
