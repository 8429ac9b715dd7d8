#include "runtime/bundle.h"
#include "runtime/command.h"
#include "runtime/file.h"
#include "runtime/options.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct arguments {
	const char *bundle;
	bool rootless;
};

enum { OPT_ROOTLESS = 256 };

static const struct option_spec options[] = {
	{'b', "bundle", "DIR", "Where to write it (default: the working directory)"},
	{OPT_ROOTLESS, "rootless", NULL, "For a user who is not root"},
	{0},
};

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;

	switch (key) {
	case 'b':
		a->bundle = value;
		return 0;
	case OPT_ROOTLESS:
		a->rootless = true;
		return 0;
	default:
		return options_refuse(value, err);
	}
}

static const struct command_line command_line = {
	.about = "Writes a " CONFIG_FILE " to begin with.",
	.options = options,
};

/* Single quotes stand for double ones, which keeps it readable. */
#define CAPABILITIES "['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE']"
static const char default_config[] =
	"{'ociVersion': '" OCI_VERSION "',"
	" 'process': {"
	"  'terminal': true,"
	"  'user': {'uid': 0, 'gid': 0},"
	"  'args': ['sh'],"
	"  'env': ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',"
	"   'TERM=xterm'],"
	"  'cwd': '/',"
	"  'capabilities': {'bounding': " CAPABILITIES ", 'effective': " CAPABILITIES ","
	"   'permitted': " CAPABILITIES "},"
	"  'rlimits': [{'type': 'RLIMIT_NOFILE', 'hard': 1024, 'soft': 1024}],"
	"  'noNewPrivileges': true},"
	" 'root': {'path': 'rootfs', 'readonly': true},"
	" 'hostname': 'bulkhead',"
	" 'mounts': ["
	"  {'destination': '/proc', 'type': 'proc', 'source': 'proc'},"
	"  {'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs',"
	"   'options': ['nosuid', 'strictatime', 'mode=755', 'size=65536k']},"
	"  {'destination': '/dev/pts', 'type': 'devpts', 'source': 'devpts',"
	"   'options': ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5']},"
	"  {'destination': '/dev/shm', 'type': 'tmpfs', 'source': 'shm',"
	"   'options': ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k']},"
	"  {'destination': '/dev/mqueue', 'type': 'mqueue', 'source': 'mqueue',"
	"   'options': ['nosuid', 'noexec', 'nodev']},"
	"  {'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs',"
	"   'options': ['nosuid', 'noexec', 'nodev', 'ro']},"
	"  {'destination': '/sys/fs/cgroup', 'type': 'cgroup', 'source': 'cgroup',"
	"   'options': ['nosuid', 'noexec', 'nodev', 'relatime', 'ro']}],"
	" 'linux': {"
	"  'resources': {'devices': [{'allow': false, 'access': 'rwm'}]},"
	"  'namespaces': [{'type': 'pid'}, {'type': 'network'}, {'type': 'ipc'}, {'type': 'uts'},"
	"   {'type': 'mount'}, {'type': 'cgroup'}],"
	"  'maskedPaths': ['/proc/acpi', '/proc/asound', '/proc/kcore', '/proc/keys',"
	"   '/proc/latency_stats', '/proc/timer_list', '/proc/timer_stats', '/proc/sched_debug',"
	"   '/sys/firmware', '/proc/scsi'],"
	"  'readonlyPaths': ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys',"
	"   '/proc/sysrq-trigger']}}";

/* The guest's users are its own, so being root there needs no mapping: only limits go. */
static void make_rootless(json_t *config)
{
	json_object_del(json_object_get(config, "linux"), "resources");
}

json_t *spec_default(void)
{
	char quoted[sizeof(default_config)];

	for (size_t i = 0; i < sizeof(quoted); i++)
		quoted[i] = default_config[i] == '\'' ? '"' : default_config[i];
	return json_loads(quoted, 0, NULL);
}

static char *default_text(bool rootless)
{
	json_t *config = spec_default();
	char *text;

	if (rootless)
		make_rootless(config);
	text = config ? json_dumps(config, JSON_INDENT(4)) : NULL;
	json_decref(config);
	return text;
}

int cmd_spec(struct globals *globals, int argc, char **argv, struct error *err)
{
	struct arguments a = {.bundle = "."};
	cleanup_free char *text = NULL, *path = NULL;
	cleanup_fd int fd = -1;
	int ret;

	(void)globals;
	ret = options_parse(&command_line, argc, argv, take, &a, err);
	if (ret < 0)
		return ret;
	text = default_text(a.rootless);
	path = format("%s/" CONFIG_FILE, a.bundle);
	if (!text || !path)
		return error_set(err, ENOMEM, "make " CONFIG_FILE);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno == EEXIST)
		return error_say(err, EEXIST, "File %s exists. Remove it first", path);
	if (fd < 0)
		return error_set(err, errno, "make %s", path);
	ret = write_all(fd, text, strlen(text));
	if (ret == 0)
		ret = write_all(fd, "\n", 1);
	return ret < 0 ? error_set(err, -ret, "write %s", path) : 0;
}
