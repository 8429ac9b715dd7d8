/* restore: a container goes on from what `checkpoint` has saved; else as `run`, of the same bundle.
 */
#include "runtime/container.h"
#include "runtime/snapshot.h"

enum {
	OPT_IMAGE = 512,
	OPT_WORK,
	OPT_ACCEPTED,
	OPT_MODE,
	OPT_LAZY,
	OPT_LSM,
};

static const struct option_spec options[] = {
	{'d', "detach", NULL, "Leave the container running in the background"},
	{OPT_IMAGE, "image-path", "DIR", "Where the files are (default: ./" SNAPSHOT_DEFAULT ")"},
	{OPT_WORK, "work-path", "DIR", "Accepted for runc's sake: nothing is written there"},
	{OPT_ACCEPTED, "tcp-established", NULL, "Accepted, as by checkpoint"},
	{OPT_ACCEPTED, "ext-unix-sk", NULL, "Accepted, as by checkpoint"},
	{OPT_ACCEPTED, "shell-job", NULL, "Accepted, as by checkpoint"},
	{OPT_ACCEPTED, "file-locks", NULL, "Accepted, as by checkpoint"},
	{OPT_ACCEPTED, "no-subreaper", NULL, "Accepted for runc's sake"},
	{OPT_ACCEPTED, "auto-dedup", NULL, "Accepted for runc's sake"},
	{OPT_MODE, "manage-cgroups-mode", "MODE", "Accepted, as by checkpoint"},
	{OPT_LAZY, "lazy-pages", NULL, "Refused: all memory is loaded at once"},
	{OPT_LSM, "lsm-profile", "PROFILE", "Refused: the guest's kernel has no such module"},
	{OPT_LSM, "lsm-mount-context", "CONTEXT", "Refused, likewise"},
	{0},
};

struct arguments {
	struct create_options create;
	bool detach;
};

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;

	switch (key) {
	case 'd':
		a->detach = true;
		return 0;
	case OPT_IMAGE:
		a->create.image_path = value;
		return 0;
	case OPT_WORK:
	case OPT_ACCEPTED:
	case OPT_MODE:
		return 0;
	case OPT_LAZY:
		return error_say(err, ENOTSUP, "--lazy-pages is CRIU's, which is not used here");
	case OPT_LSM:
		return error_say(err, ENOTSUP, "the guest's kernel has no SELinux and no AppArmor");
	default:
		return create_take(&a->create, key, value, err);
	}
}

static const struct command_line command_line = {
	.arguments = "ID",
	.about = "Has a container go on from a checkpoint, and waits for its end.",
	.options = options,
	.inherited = create_options,
	.missing = "the container's id",
};

int cmd_restore(struct globals *globals, int argc, char **argv, struct error *err)
{
	struct arguments a = {.create.image_path = SNAPSHOT_DEFAULT};
	int ret = options_parse(&command_line, argc, argv, take, &a, err);

	return ret < 0 ? ret : run_restored(globals, &a.create, a.detach, err);
}
