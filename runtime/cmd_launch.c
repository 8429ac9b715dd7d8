/* bulkhead launch: a workload in a VM of its own from an image or a directory, at once. */
#include "runtime/container.h"
#include "runtime/file.h"
#include "runtime/image_store.h"
#include "runtime/launch_config.h"
#include "runtime/store.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	OPT_MEMORY = 256,
	OPT_CPUS,
	OPT_NAME,
	OPT_RM,
	OPT_ENTRYPOINT,
	OPT_HOSTNAME,
	OPT_NET,
	OPT_READ_ONLY
};

static const struct option_spec options[] = {
	{'i', "interactive", NULL, "Let the workload read what comes on stdin"},
	{'t', "tty", NULL, "Give it a terminal"},
	{'e', "env", "NAME[=VALUE]", "Set a variable, or hand over the one of that name"},
	{'v', "volume", "/FROM:/TO[:ro]", "Mount a directory or file of the host"},
	{'w', "workdir", "DIR", "Its working directory"},
	{'u', "user", "USER[:GROUP]", "Who it runs as: names of the image, or numbers"},
	{OPT_MEMORY, "memory", "SIZE", "Its memory: 512M, 2G"},
	{OPT_CPUS, "cpus", "NUMBER", "Its CPUs, also 0.5"},
	{OPT_NAME, "name", "ID", "The container's id"},
	{OPT_RM, "rm", NULL, "Remove the container when it ends"},
	{OPT_ENTRYPOINT, "entrypoint", "PROGRAM", "Run this instead of the image's"},
	{OPT_HOSTNAME, "hostname", "NAME", "Its host name (default: the id)"},
	{OPT_NET, "net", "none|user|tap=NAME|ns=/PATH",
	 "Its network: none (the default), passt, a tap, a namespace's"},
	{'p', "publish", "HOST:GUEST[/udp]", "A port of the host answered by it, with --net user"},
	{OPT_READ_ONLY, "read-only", NULL, "Its root cannot be written to"},
	{0},
};

static const struct command_line command_line = {
	.arguments = "IMAGE|DIR [--] [COMMAND [ARGUMENT]...]",
	.about = "Runs a command in a VM of its own from an image (bulkhead image pull) or a\n"
		 "directory with a root file system (a path with a slash), without a bundle.",
	.options = options,
	.missing = "the image",
	.in_order = true,
};

static int add(const char **list, size_t *count, char *value, const char *option, struct error *err)
{
	if (*count == LAUNCH_LIST_MAX)
		return error_say(err, E2BIG, "%s: more than %d of them", option, LAUNCH_LIST_MAX);
	list[(*count)++] = value;
	return 0;
}

static int take(void *input, int key, char *value, struct error *err)
{
	struct launch_options *o = input;

	switch (key) {
	case 'i':
		o->interactive = true;
		return 0;
	case 't':
		o->terminal = true;
		return 0;
	case 'e':
		return add(o->env, &o->env_count, value, "-e", err);
	case 'v':
		return add(o->volumes, &o->volume_count, value, "-v", err);
	case 'p':
		return add(o->ports, &o->port_count, value, "-p", err);
	case OPT_NET:
		o->net = value;
		return 0;
	case 'w':
		o->workdir = value;
		return 0;
	case 'u':
		o->user = value;
		return 0;
	case OPT_MEMORY:
		o->memory = value;
		return 0;
	case OPT_CPUS:
		o->cpus = value;
		return 0;
	case OPT_NAME:
		o->name = value;
		return 0;
	case OPT_RM:
		o->remove = true;
		return 0;
	case OPT_ENTRYPOINT:
		o->entrypoint = value;
		return 0;
	case OPT_HOSTNAME:
		o->hostname = value;
		return 0;
	default: /* OPT_READ_ONLY */
		o->read_only = true;
		return 0;
	}
}

/* The bundle of the moment: it is read at create, and gone after that. */
struct folder {
	int parent_fd;
	int fd; /* locked: what is not belongs to one that was killed */
	char name[64];
};

static void remove_folder(void *ctx)
{
	struct folder *folder = ctx;

	if (folder->parent_fd < 0)
		return;
	store_remove_directory(folder->parent_fd, folder->name);
	close_fd(&folder->fd);
	close_fd(&folder->parent_fd);
}

/* The parent's lock keeps others from taking a new one for one that was left behind. */
static int make_folder(struct folder *folder, struct error *err)
{
	int ret = 0;

	folder->parent_fd = store_open("launch", err);
	if (folder->parent_fd < 0)
		return folder->parent_fd;
	snprintf(folder->name, sizeof(folder->name), STORE_UNFINISHED "%d", getpid());
	if (flock(folder->parent_fd, LOCK_EX) < 0)
		return error_set(err, errno, "lock %s/launch", store_path());
	store_remove_unfinished(folder->parent_fd);
	if (mkdirat(folder->parent_fd, folder->name, 0700) == 0)
		folder->fd = openat(folder->parent_fd, folder->name,
				    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder->fd < 0 || flock(folder->fd, LOCK_SH) < 0 ||
	    mkdirat(folder->fd, "rootfs", 0700) < 0)
		ret = error_set(err, errno, "make a bundle");
	flock(folder->parent_fd, LOCK_UN);
	return ret;
}

static int write_bundle(struct folder *folder, const json_t *config, struct error *err)
{
	cleanup_free char *text = json_dumps(config, JSON_INDENT(2));
	int ret;

	if (!text)
		return error_set(err, ENOMEM, "make a bundle");
	ret = make_folder(folder, err);
	return ret < 0 ? ret : file_replace(folder->fd, CONFIG_FILE, 0600, text, strlen(text), err);
}

/* An image that is not here is got, as engines do. */
static int find_image(const char *name, json_t **config, struct error *err)
{
	struct oci_manifest *manifest = malloc(sizeof(*manifest));
	int ret = manifest ? image_find(name, manifest, err) : error_set(err, ENOMEM, "image");

	if (ret == -ENOENT) {
		error_clear(err);
		ret = image_pull(name, name, err);
		if (ret == 0)
			ret = image_find(name, manifest, err);
	}
	if (ret == 0) {
		*config = image_config(manifest, err);
		ret = *config ? 0 : -err->code;
	}
	free(manifest);
	return ret;
}

static int find_root(struct launch_options *o, const char *what, char **path, json_t **image,
		     struct error *err)
{
	/* "a/b" may be an image's name, "./a" and "/a" never are. */
	if (*what != '/' && *what != '.') {
		o->image = what;
		return find_image(what, image, err);
	}
	*path = realpath(what, NULL);
	o->directory = *path;
	return *path ? 0 : error_set(err, errno, "%s", what);
}

static int launch(struct globals *globals, struct launch_options *o, const char *what,
		  struct error *err)
{
	struct folder folder = {.parent_fd = -1, .fd = -1};
	cleanup_free char *path = NULL, *bundle = NULL;
	json_t *image = NULL, *config = NULL;
	int ret = find_root(o, what, &path, &image, err);

	if (ret == 0) {
		config = launch_config(o, image, err);
		ret = config ? write_bundle(&folder, config, err) : -err->code;
	}
	json_decref(image);
	json_decref(config);
	if (ret == 0 && !o->interactive && !o->terminal) {
		cleanup_fd int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

		dup2(null_fd, STDIN_FILENO);
	}
	bundle = format("%s/launch/%s", store_path(), folder.name);
	if (ret == 0)
		ret = bundle ? run_bundle(globals, bundle, o->name, !o->remove, remove_folder,
					  &folder, err)
			     : error_set(err, ENOMEM, "launch");
	remove_folder(&folder);
	return ret;
}

int cmd_launch(struct globals *globals, int argc, char **argv, struct error *err)
{
	struct launch_options o = {0};
	char name[32];
	int at = options_parse(&command_line, argc, argv, take, &o, err);

	if (at < 0)
		return at;
	o.command = argv + at + 1;
	if (*o.command && !strcmp(*o.command, "--"))
		o.command++;
	snprintf(name, sizeof(name), "launch-%d", getpid());
	if (!o.name)
		o.name = name;
	return launch(globals, &o, argv[at], err);
}
