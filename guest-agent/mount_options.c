#include "guest-agent/mount_options.h"

#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>

#include "common/cleanup.h"
#include "common/count.h"
#include "guest-agent/spec.h"

struct flag_name {
	const char *name;
	unsigned long set;
	unsigned long clear;
};

#define ATIMES (MS_RELATIME | MS_NOATIME | MS_STRICTATIME)

static const struct flag_name flag_names[] = {
	{"async", 0, MS_SYNCHRONOUS},
	{"atime", 0, MS_NOATIME},
	{"bind", MS_BIND, 0},
	{"defaults", 0, 0},
	{"dev", 0, MS_NODEV},
	{"diratime", 0, MS_NODIRATIME},
	{"dirsync", MS_DIRSYNC, 0},
	{"exec", 0, MS_NOEXEC},
	{"iversion", MS_I_VERSION, 0},
	{"lazytime", MS_LAZYTIME, 0},
	{"loud", 0, MS_SILENT},
	{"mand", MS_MANDLOCK, 0},
	{"noatime", MS_NOATIME, ATIMES},
	{"nodev", MS_NODEV, 0},
	{"nodiratime", MS_NODIRATIME, 0},
	{"noexec", MS_NOEXEC, 0},
	{"noiversion", 0, MS_I_VERSION},
	{"nolazytime", 0, MS_LAZYTIME},
	{"nomand", 0, MS_MANDLOCK},
	{"norelatime", 0, MS_RELATIME},
	{"nostrictatime", 0, MS_STRICTATIME},
	{"nosuid", MS_NOSUID, 0},
	{"nosymfollow", MS_NOSYMFOLLOW, 0},
	{"rbind", MS_BIND | MS_REC, 0},
	{"relatime", MS_RELATIME, ATIMES},
	{"remount", MS_REMOUNT, 0},
	{"ro", MS_RDONLY, 0},
	{"rw", 0, MS_RDONLY},
	{"silent", MS_SILENT, 0},
	{"strictatime", MS_STRICTATIME, ATIMES},
	{"suid", 0, MS_NOSUID},
	{"symfollow", 0, MS_NOSYMFOLLOW},
	{"sync", MS_SYNCHRONOUS, 0},
};

static const struct flag_name propagation_names[] = {
	{"private", MS_PRIVATE, 0},
	{"rprivate", MS_PRIVATE | MS_REC, 0},
	{"rshared", MS_SHARED | MS_REC, 0},
	{"rslave", MS_SLAVE | MS_REC, 0},
	{"runbindable", MS_UNBINDABLE | MS_REC, 0},
	{"shared", MS_SHARED, 0},
	{"slave", MS_SLAVE, 0},
	{"unbindable", MS_UNBINDABLE, 0},
};

static const struct flag_name *find(const struct flag_name *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(names[i].name, name))
			return &names[i];
	return NULL;
}

unsigned long mount_propagation(const char *name)
{
	const struct flag_name *found = find(propagation_names, COUNT(propagation_names), name);

	return found ? found->set : 0;
}

static int option_parse(const char *option, struct mount_options *out)
{
	const struct flag_name *flag = find(flag_names, COUNT(flag_names), option);
	unsigned long propagation = mount_propagation(option);
	size_t used = strlen(out->data);

	if (flag) {
		out->flags = (out->flags & ~flag->clear) | flag->set;
	} else if (propagation) {
		out->propagation |= propagation;
	} else if (!strcmp(option, "rro")) {
		out->recursive_readonly = true;
	} else if (!strcmp(option, "tmpcopyup")) {
		out->copy_up = true;
	} else if (!strcmp(option, "idmap") || !strcmp(option, "ridmap")) {
		return -EOPNOTSUPP;
	} else if (*option) {
		if (used + strlen(option) + 2 > sizeof(out->data))
			return -E2BIG;
		if (used)
			out->data[used++] = ',';
		strcpy(out->data + used, option);
	}
	return 0;
}

int mount_options_parse(const json_t *mount, const char *where, struct mount_options *out,
			struct error *err)
{
	cleanup_free const char **options = NULL;
	int ret = spec_strings(mount, where, "options", &options, err);

	memset(out, 0, sizeof(*out));
	for (const char **option = options; ret > 0 && *option; option++) {
		ret = option_parse(*option, out);
		if (ret < 0)
			return error_set(err, -ret, "%s.options: \"%s\"", where, *option);
		ret = 1;
	}
	return ret < 0 ? ret : 0;
}
