#include "runtime/container_internal.h"

#include "common/direct_io.h"

#include <string.h>

#define STATUS_LIMIT 2000 /* ms */

static bool template_wanted(const struct settings *settings)
{
	const char *text = settings_text(settings, "template");

	return !text || strcmp(text, "off") != 0;
}

/* The driver in a template has learnt its drives' block size already, that of any plain file. */
static bool has_large_blocks(const struct making *making)
{
	struct direct_io direct;

	return container_wants_direct_io(&making->globals->settings) &&
	       making->images.scratch_fd >= 0 &&
	       (direct_io_find(making->images.scratch_fd, &direct) < 0 || direct.block > 512);
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

/*
 * Without one of its own it starts from one for several sizes. That is the first to be made, and
 * makes its own the second.
 */
static void look_for_shared(struct making *making)
{
	struct template template = TEMPLATE_INIT;
	struct template_shape shape = making->shape;

	vm_size_shared_template(&shape.size);
	if (shape.size.boot_mib == making->shape.size.boot_mib ||
	    template_find(&template, &shape, &making->template, NULL) < 0) {
		template_destroy(&template);
		return;
	}
	making->own_template = making->template;
	making->own_shape = making->shape;
	making->template = template;
	making->shape = shape;
}

void container_choose_template(struct container *container, struct making *making)
{
	making->shape = (struct template_shape){
		.files = &container->files,
		.size = container->size,
		.cmdline = *making->cmdline ? making->cmdline : NULL,
		.lowers = 1,
		.scratch = making->images.scratch_fd >= 0,
		.nics = container->slots.nics,
		.user_net = container->slots.user,
		.shares = container->binds.share_count || shared_root_used(&container->shared_root),
	};
	/* A template has drives for the VM's own disks only. */
	if (!template_wanted(&making->globals->settings) || container->disks.count ||
	    has_large_blocks(making))
		return;
	vm_size_own_template(&making->shape.size);
	if (template_find(&making->template, &making->shape, NULL, NULL) < 0)
		return;
	making->use_template = true;
	if (making->template.state_fd < 0)
		look_for_shared(making);
	container->size = making->shape.size;
}

/* One that was missing or did not fit is made for the next time. */
void container_tend_template(struct container *container, const struct making *making)
{
	const struct template *template = &making->template;
	const struct template_shape *shape = &making->shape;
	struct proto_status status;

	if (!making->use_template)
		return;
	if (template->state_fd >= 0) {
		if (control_status(&container->control, &status, STATUS_LIMIT, NULL) < 0 ||
		    status.template_use != PROTO_TEMPLATE_REFUSED) {
			if (template->pages_fd < 0 && !shape->shares)
				note_template(container, template);
			if (making->own_template.shape)
				template_make_later(&making->own_template, &making->own_shape);
			return;
		}
		template_discard(template);
	}
	template_make_later(template, shape);
}
