#include "runtime/state.h"
#include "runtime/control_client.h"
#include "runtime/delegate.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_FILE     "state.json"
#define OOM_FILE       "oom"
#define STATE_FILE_MAX (16u << 20)
#define STATUS_LIMIT   2000 /* ms */

static int refuse_id(const char *id, struct error *err)
{
	char shown[NAME_MAX + 1] = "";

	/* A line is a line, whatever the id has in it. */
	for (size_t i = 0; i < NAME_MAX && id[i]; i++)
		shown[i] = (char)((unsigned char)id[i] < ' ' ? '?' : id[i]);
	return error_say(
		err, EINVAL,
		"invalid container ID format: \"%s\": it may have letters, digits and _+-.", shown);
}

int state_check_id(const char *id, struct error *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_+-.";

	if (!*id)
		return error_say(err, EINVAL, "container id cannot be empty");
	if (strlen(id) > NAME_MAX)
		return error_say(err, EINVAL, "container id is longer than %d bytes", NAME_MAX);
	if (id[strspn(id, allowed)] || !strcmp(id, ".") || !strcmp(id, ".."))
		return refuse_id(id, err);
	return 0;
}

void state_destroy(struct state *state)
{
	close_fd(&state->dir_fd);
	close_fd(&state->root_fd);
	json_decref(state->doc);
	state->doc = NULL;
	free(take_ptr(state->id));
}

static int open_root(struct state *state, const char *root, const char *id, struct error *err)
{
	int ret = state_check_id(id, err);

	if (ret < 0)
		return ret;
	state->id = strdup(id);
	if (!state->id)
		return error_set(err, ENOMEM, "container %s", id);
	state->root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (state->root_fd < 0 && errno == ENOENT)
		return error_say(err, ENOENT, "container does not exist");
	if (state->root_fd < 0)
		return error_set(err, errno, "open %s", root);
	return 0;
}

static int open_folder(struct state *state, struct error *err)
{
	state->dir_fd = openat(state->root_fd, state->id,
			       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (state->dir_fd < 0 && errno == ENOENT)
		return error_say(err, ENOENT, "container does not exist");
	if (state->dir_fd < 0)
		return error_set(err, errno, "open the state of container %s", state->id);
	return 0;
}

/* It may have been removed, and even made anew, while its lock was waited for. */
bool state_is_gone(const struct state *state)
{
	struct stat st, named;

	return fstat(state->dir_fd, &st) < 0 ||
	       fstatat(state->root_fd, state->id, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
	       st.st_ino != named.st_ino || st.st_dev != named.st_dev;
}

static int lock_folder(struct state *state, struct error *err)
{
	while (flock(state->dir_fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return error_set(err, errno, "lock container %s", state->id);
	if (state_is_gone(state))
		return error_say(err, ENOENT, "container does not exist");
	return 0;
}

int state_create(struct state *state, const char *root, const char *id, struct error *err)
{
	int ret = make_directories(root, 0700, err);

	if (ret < 0)
		return error_prefix(err, ret, "the folder of states (--root, or XDG_RUNTIME_DIR)");
	ret = open_root(state, root, id, err);
	if (ret < 0)
		return ret;
	if (mkdirat(state->root_fd, id, 0711) < 0) {
		if (errno == EEXIST)
			return error_say(err, EEXIST, "container with given ID already exists: %s",
					 id);
		return error_set(err, errno, "make %s/%s", root, id);
	}
	ret = open_folder(state, err);
	if (ret == 0)
		ret = lock_folder(state, err);
	if (ret < 0)
		return ret;
	state->doc = json_object();
	return state->doc ? 0 : error_set(err, ENOMEM, "container %s", id);
}

static int load(struct state *state, struct error *err)
{
	cleanup_free char *text = NULL;
	json_error_t json_error;
	struct error ignored = {0};
	json_t *doc;
	ssize_t len;

	len = file_read(state->dir_fd, STATE_FILE, STATE_FILE_MAX, &text, &ignored);
	if (len == -ENOENT)
		return error_say(err, ENOENT, "container does not exist");
	if (len < 0)
		return error_set(err, (int)-len, "read the state of container %s", state->id);
	doc = json_loadb(text, (size_t)len, 0, &json_error);
	if (!json_is_object(doc)) {
		json_decref(doc);
		return error_say(err, EBADMSG,
				 "state.json of container %s is damaged: delete --force removes it",
				 state->id);
	}
	json_decref(state->doc);
	state->doc = doc;
	state->pid = (pid_t)json_integer_value(json_object_get(doc, "pid"));
	state->start_time = (uint64_t)json_integer_value(json_object_get(doc, "startTime"));
	return 0;
}

int state_open_folder(struct state *state, const char *root, const char *id, struct error *err)
{
	struct error ignored = {0};
	int ret = open_root(state, root, id, err);

	if (ret == 0)
		ret = open_folder(state, err);
	if (ret == 0)
		load(state, &ignored);
	return ret < 0 ? ret : delegate_command(state, err);
}

int state_peek(struct state *state, const char *root, const char *id, struct error *err)
{
	int ret = open_root(state, root, id, err);

	if (ret == 0)
		ret = open_folder(state, err);
	return ret < 0 ? ret : load(state, err);
}

int state_open(struct state *state, const char *root, const char *id, struct error *err)
{
	int ret = state_peek(state, root, id, err);

	return ret < 0 ? ret : delegate_command(state, err);
}

int state_lock(struct state *state, struct error *err)
{
	int ret = lock_folder(state, err);

	return ret < 0 ? ret : load(state, err);
}

void state_unlock(struct state *state)
{
	flock(state->dir_fd, LOCK_UN);
}

int state_save(struct state *state, struct error *err)
{
	cleanup_free char *text = json_dumps(state->doc, JSON_COMPACT);

	if (!text)
		return error_set(err, ENOMEM, "write the state of container %s", state->id);
	return file_replace(state->dir_fd, STATE_FILE, 0600, text, strlen(text), err);
}

int state_remove(struct state *state, struct error *err)
{
	int list_fd = openat(state->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = NULL;
	struct dirent *entry;

	if (list_fd >= 0)
		dir = fdopendir(list_fd);
	if (!dir) {
		close_fd(&list_fd);
		return error_set(err, errno, "list the state of container %s", state->id);
	}
	/* state.json goes last: a removal that was cut short can be repeated. */
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, STATE_FILE) != 0)
			unlinkat(state->dir_fd, entry->d_name, 0);
	unlinkat(state->dir_fd, STATE_FILE, 0);
	if (unlinkat(state->root_fd, state->id, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return error_set(err, errno, "remove the state of container %s", state->id);
	return 0;
}

void state_set_phase(struct state *state, const char *phase)
{
	json_object_set_new(state->doc, "phase", json_string(phase));
}

static const char *phase_name(uint32_t phase)
{
	switch (phase) {
	case PROTO_STATE_CREATING:
		return "creating";
	case PROTO_STATE_CREATED:
		return "created";
	case PROTO_STATE_RUNNING:
		return "running";
	case PROTO_STATE_PAUSED:
		return "paused";
	default:
		return "stopped";
	}
}

/*
 * A creator holds the lock from before it writes state.json until its VMM is known, so without a
 * pid and with a free lock there is no creator any more. A lock is the open file's: a fresh one is
 * needed to ask for it.
 */
static bool is_being_made(const struct state *state)
{
	cleanup_fd int fd = openat(state->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

const char *state_status(struct state *state)
{
	struct error ignored = {0};
	cleanup_fd int fd = -1;
	struct control control = CONTROL_INIT;
	struct proto_status status;
	const char *phase;
	int ret;

	if (state->pid == 0 && is_being_made(state))
		return "creating";
	/* It may have been finished between the reading and the asking. */
	if (state->pid == 0)
		load(state, &ignored);
	fd = state_open_process(state);
	if (fd < 0)
		return "stopped";
	ret = control_connect(&control, state->dir_fd, NULL);
	if (ret == 0)
		ret = control_status(&control, &status, STATUS_LIMIT, NULL);
	control_close(&control);
	if (ret == 0)
		return phase_name(status.state);
	close_fd(&fd);
	fd = state_open_process(state);
	phase = json_string_value(json_object_get(state->doc, "phase"));
	/* Alive but mute: what was last known is the best answer. */
	return fd >= 0 && phase ? phase : "stopped";
}

int state_open_running(struct state *state, const char *root, const char *id, struct error *err)
{
	int ret = state_open(state, root, id, err);

	if (ret == 0 && !strcmp(state_status(state), "stopped"))
		ret = error_say(err, ESRCH, "container with id %s is not running", id);
	return ret;
}

const char *state_bundle(const struct state *state)
{
	const char *bundle = json_string_value(json_object_get(state->doc, "bundle"));

	return bundle ? bundle : "";
}

int state_open_oom(const struct state *state)
{
	return openat(state->dir_fd, OOM_FILE,
		      O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* Looked up only here: at every create it would cost a millisecond. */
static json_t *describe_owner(const struct state *state)
{
	struct stat folder;
	const struct passwd *owner = NULL;

	if (fstat(state->dir_fd, &folder) == 0)
		owner = getpwuid(folder.st_uid);
	return json_string(owner ? owner->pw_name : "");
}

json_t *state_describe(struct state *state)
{
	static const char *const copied[] = {"bundle", "rootfs", "created", "annotations"};
	json_t *out = delegate_describe(state);
	const char *status;
	struct stat oom;

	if (out)
		return out;
	status = state_status(state);
	out = json_object();

	json_object_set(out, "ociVersion", json_object_get(state->doc, "ociVersion"));
	json_object_set_new(out, "id", json_string(state->id));
	json_object_set_new(out, "pid", json_integer(strcmp(status, "stopped") ? state->pid : 0));
	json_object_set_new(out, "status", json_string(status));
	if (fstatat(state->dir_fd, OOM_FILE, &oom, AT_SYMLINK_NOFOLLOW) == 0 && oom.st_size > 0)
		json_object_set_new(out, "oom", json_true());
	for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
		json_t *value = json_object_get(state->doc, copied[i]);

		if (value)
			json_object_set(out, copied[i], value);
	}
	json_object_set_new(out, "owner", describe_owner(state));
	return out;
}
