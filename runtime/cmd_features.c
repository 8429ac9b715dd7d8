#include "runtime/command.h"
#include "runtime/options.h"

#include <jansson.h>
#include <stdio.h>

static const struct command_line command_line = {.about = "Prints what is supported, as JSON."};

static const char text[] =
	"{'ociVersionMin': '1.0.0', 'ociVersionMax': '" OCI_VERSION "',"
	" 'hooks': ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart',"
	"  'poststop'],"
	" 'mountOptions': ['async', 'atime', 'defaults', 'dev', 'diratime', 'dirsync', 'exec',"
	"  'noatime', 'nodev', 'nodiratime', 'noexec', 'norelatime', 'nostrictatime', 'nosuid',"
	"  'relatime', 'ro', 'rw', 'strictatime', 'suid', 'sync'],"
	" 'linux': {"
	"  'namespaces': ['cgroup', 'ipc', 'mount', 'network', 'pid', 'uts'],"
	"  'cgroup': {'v1': true, 'v2': true, 'systemd': true, 'systemdUser': false},"
	"  'seccomp': {'enabled': true,"
	"   'actions': ['SCMP_ACT_ALLOW', 'SCMP_ACT_ERRNO', 'SCMP_ACT_KILL',"
	"    'SCMP_ACT_KILL_PROCESS', 'SCMP_ACT_KILL_THREAD', 'SCMP_ACT_LOG', 'SCMP_ACT_TRACE',"
	"    'SCMP_ACT_TRAP'],"
	"   'operators': ['SCMP_CMP_EQ', 'SCMP_CMP_GE', 'SCMP_CMP_GT', 'SCMP_CMP_LE',"
	"    'SCMP_CMP_LT', 'SCMP_CMP_MASKED_EQ', 'SCMP_CMP_NE'],"
	"   'archs': ['SCMP_ARCH_X32', 'SCMP_ARCH_X86', 'SCMP_ARCH_X86_64']},"
	"  'apparmor': {'enabled': false},"
	"  'selinux': {'enabled': false}},"
	" 'annotations': {'io.bulkhead.version': '" BULKHEAD_VERSION "'}}";

int cmd_features(struct globals *globals, int argc, char **argv, struct error *err)
{
	char quoted[sizeof(text)];
	json_t *doc;
	int ret;

	(void)globals;
	ret = options_parse(&command_line, argc, argv, options_take_nothing, NULL, err);
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < sizeof(text); i++)
		quoted[i] = text[i] == '\'' ? '"' : text[i];
	doc = json_loads(quoted, 0, NULL);
	if (!doc)
		return error_set(err, ENOMEM, "make the features");
	json_dumpf(doc, stdout, JSON_INDENT(4));
	json_decref(doc);
	putchar('\n');
	return fflush(stdout) == EOF ? error_set(err, errno, "write the features") : 0;
}
