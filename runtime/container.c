#include "runtime/container_internal.h"
#include "runtime/delegate.h"
#include "runtime/file.h"
#include "runtime/hooks.h"
#include "runtime/pin.h"
#include "runtime/pod.h"
#include "runtime/scratch.h"
#include "runtime/seccomp_filter.h"
#include "runtime/signals.h"
#include "runtime/teardown.h"
#include "runtime/template_pages.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ms. The VMM gives up earlier and says why; a host on which all starts at once is slow, not stuck.
 */
#define START_LIMIT 180000

int container_block_signals(struct container *container, struct error *err)
{
	container->control.interrupt_fd = signals_open_ends();
	if (container->control.interrupt_fd < 0)
		return error_set(err, -container->control.interrupt_fd, "signalfd");
	return 0;
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

/* The VM's own. */
static unsigned int disk_count(const struct images *images)
{
	return images->scratch_fd >= 0 ? 2 : 1;
}

/* In the order that the VMM is given the disks in. */
static void plan_rates(struct container *container, const struct images *images)
{
	const struct disks *given = &container->disks;
	int disks[2 + DISKS_MAX] = {images->count ? images->layers[0].layer.fd : -1,
				    images->scratch_fd};
	size_t count = disk_count(images);

	for (size_t i = 0; i < given->count; i++)
		disks[count++] = given->disks[i].fd;
	rates_plan(container->rates, container->slots.nics, disks, count);
	rates_throttle(container->rates,
		       json_at(container->bundle.config, "linux", "resources", NULL));
	json_object_set(container->state.doc, "rates", container->rates);
}

/* Where the VMM will be. What is made is in the state before: whatever ends us, delete finds it. */
static int prepare_place(struct container *container, const struct making *making,
			 struct error *err)
{
	const struct globals *globals = making->globals;
	const json_t *config = container->bundle.config;
	int ret = placement_prepare(&container->placement, globals->cgroup_manager, config,
				    container->state.id, err);

	if (ret == 0)
		ret = network_plan(&container->slots, &container->placement,
				   container->bundle.config, &globals->settings,
				   container->size.vcpus, err);
	if (ret < 0)
		return ret;
	json_object_set_new(container->state.doc, "network",
			    network_save(&container->slots, &globals->settings));
	json_object_set_new(container->state.doc, "cgroup",
			    cgroup_save(&container->placement.cgroup));
	if (settings_text(&globals->settings, "pin"))
		json_object_set_new(container->state.doc, "pin",
				    json_string(settings_text(&globals->settings, "pin")));
	plan_rates(container, &making->images);
	json_object_set(container->state.doc, "hooks", json_object_get(config, "hooks"));
	json_object_set(container->state.doc, "copies", container->binds.copies);
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
static int limit_rest(const struct container *container, const struct settings *settings,
		      struct error *err)
{
	const json_t *resources = json_at(container->bundle.config, "linux", "resources", NULL);
	const struct cgroup *cgroup = &container->placement.cgroup;
	int ret = cgroup_set_cpu(cgroup, resources, err);

	if (ret == 0)
		ret = cgroup_set_io(cgroup, resources, err);
	if (ret == 0)
		ret = cgroup_set_unified(cgroup, resources, err);
	return ret < 0 ? ret : pin_apply(container->state.pid, settings_text(settings, "pin"), err);
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

static int write_pid_file(const struct container *container, const char *path, struct error *err)
{
	char text[16];

	if (!path)
		return 0;
	snprintf(text, sizeof(text), "%d", container->state.pid);
	return file_replace(AT_FDCWD, path, 0644, text, strlen(text), err);
}

/* The kernel's command line from the settings and, for the lab, from the environment. */
static char *make_cmdline(const struct settings *settings)
{
	const char *own = settings_text(settings, "kernel-cmdline");
	const char *lab = getenv("BULKHEAD_CMDLINE");

	return format("%s%s%s", own ? own : "", own && lab ? " " : "", lab ? lab : "");
}

static int make_root(struct container *container, struct making *making, struct error *err)
{
	const struct images *images = &making->images;
	int ret = shared_root_make(&container->shared_root, err);

	if (ret < 0)
		return ret;
	if (shared_root_used(&container->shared_root))
		json_object_set_new(container->state.doc, "upper",
				    shared_root_save(&container->shared_root));
	ret = state_save(&container->state, err);
	if (ret == 0)
		ret = images_make(&making->images, &container->bundle, &making->globals->settings,
				  &container->shared_root, !container->restored, err);
	if (ret == 0 && container->restored)
		ret = snapshot_put_disks(&making->snapshot, &making->images, err);
	if (ret < 0)
		return ret;
	container->images_ns = monotonic_ns();
	container->size.disk_bytes = images->scratch_fd >= 0
					     ? scratch_memory(images->scratch_fd)
					     : shared_root_memory(&container->shared_root);
	if (disks_describe(&container->disks, &container->bundle, disk_count(images)) < 0)
		return error_set(err, ENOMEM, "linux.devices");
	return 0;
}

/* From a VMM that starts to a workload that waits for start. */
static int boot(struct container *container, struct making *making, struct error *err)
{
	int ret = container_launch(container, making, err);

	/* A scope has had its limit from the beginning, but for swap. */
	if (ret == 0 && container->placement.cgroup.scope)
		ret = limit_memory(container, err);
	if (ret == 0)
		ret = run_create_hooks(container, err);
	if (ret == 0)
		ret = container->restored ? container_await_restored(container, err)
					  : container_request_create(container, making, err);
	if (ret == 0)
		ret = limit_rest(container, &making->globals->settings, err);
	if (ret == 0)
		ret = rates_send(container->rates, &container->control, err);
	return ret;
}

static int make(struct container *container, struct making *making,
		const struct create_options *options, struct error *err)
{
	int ret;

	making->cmdline = make_cmdline(&making->globals->settings);
	if (!making->cmdline)
		return error_set(err, ENOMEM, "the kernel's command line");
	describe(container);
	ret = make_root(container, making, err);
	if (ret == 0)
		ret = container_open_terminal(container, options, &making->tty_fd, err);
	if (ret == 0)
		ret = prepare_place(container, making, err);
	if (ret < 0)
		return ret;
	if (container->restored && container->slots.nics != snapshot_nics(&making->snapshot))
		return error_say(err, EINVAL,
				 "the snapshot is of a VM with %u NICs, now it would have %u",
				 snapshot_nics(&making->snapshot), container->slots.nics);
	if (!container->restored)
		container_choose_template(container, making);
	ret = limit_memory(container, err);
	if (ret == 0)
		ret = boot(container, making, err);
	if (ret == 0)
		ret = write_pid_file(container, options->pid_file, err);
	if (ret == 0)
		container_tend_template(container, making);
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
		ret = pin_check(settings_text(&globals->settings, "pin"), container->size.vcpus,
				err);
	if (ret == 0 && !(container->rates = rates_read(&globals->settings, err)))
		ret = -EINVAL;
	if (ret == 0)
		ret = binds_prepare(&container->binds, &container->bundle, err);
	if (ret == 0)
		ret = disks_open(&container->disks, &container->bundle, err);
	if (ret == 0)
		ret = shared_root_find(&container->shared_root, &container->bundle,
				       &globals->settings, err);
	if (ret == 0)
		ret = container_check_terminal(container, options, err);
	if (ret == 0)
		ret = seccomp_filter_compile(container->bundle.config, seccomp, err);
	if (ret == 0) {
		vmm_find_files(&container->files, &globals->settings);
		ret = vmm_files_check(&container->files, err);
	}
	container->config_ns = monotonic_ns();
	return ret;
}

static void making_destroy(struct making *making)
{
	json_decref(making->seccomp);
	images_destroy(&making->images);
	template_destroy(&making->template);
	template_destroy(&making->own_template);
	snapshot_close(&making->snapshot);
	free(making->cmdline);
	close_fd(&making->tty_fd);
}

static int create_vm(struct container *container, const struct globals *globals,
		     const struct create_options *options, struct error *err)
{
	struct making making = {
		.globals = globals,
		.images = IMAGES_INIT,
		.template = TEMPLATE_INIT,
		.own_template = TEMPLATE_INIT,
		.snapshot = SNAPSHOT_INIT,
		.tty_fd = -1,
	};
	int ret = prepare(container, globals, options, &making.seccomp, err);

	if (ret == 0)
		ret = container_open_snapshot(container, &making, options->image_path, err);
	if (ret == 0)
		ret = state_create(&container->state, globals->root, options->id, err);
	if (ret == 0) {
		ret = make(container, &making, options, err);
		if (ret < 0) {
			explain_end(container, ret, err);
			container_discard(container);
		}
	}
	making_destroy(&making);
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
		return delegate_create(globals, options->id, container->bundle.path, options->stays,
				       err);
	pod_adapt(container->bundle.config, globals->root);
	return create_vm(container, globals, options, err);
}

/* The workload goes on, and who watches its network from then on comes after it. */
static int go(struct container *container, struct error *err)
{
	struct network_joined *joined;
	struct error why = {0};
	int ret;

	/* It never stopped, and had no interface to be joined. */
	if (container->restored)
		return 0;
	ret = network_join(&container->control, container->state.pid,
			   json_object_get(container->state.doc, "network"),
			   json_object_get(container->state.doc, "copies"), &joined, err);
	if (ret == 0)
		ret = control_request(&container->control, PROTO_START, NULL, 0, START_LIMIT, NULL,
				      err);
	if (ret == 0 && network_watch(joined, &container->state, &why) < 0)
		log_warn("%s", why.message);
	network_joined_destroy(joined);
	return ret;
}

int container_start(struct container *container, struct error *err)
{
	const char *template = json_string_value(json_object_get(container->state.doc, "template"));
	int ret = go(container, err);

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
	json_decref(container->rates);
	bundle_destroy(&container->bundle);
	vmm_files_destroy(&container->files);
	placement_destroy(&container->placement);
	state_destroy(&container->state);
}
