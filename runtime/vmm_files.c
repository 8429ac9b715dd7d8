#include "runtime/vmm_files.h"
#include "runtime/file.h"

#include "common/cleanup.h"
#include "common/kvm.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char *find_file(const char *variable, const char *set, const char *beside,
		       const char *installed)
{
	const char *override = getenv(variable);
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *path;

	if (override && *override)
		return access(override, R_OK) == 0 ? realpath(override, NULL) : NULL;
	if (set)
		return strdup(set);
	if (len < 0)
		return NULL;
	self[len] = '\0';
	*strrchr(self, '/') = '\0';
	for (int i = 0; i < 3; i++) {
		path = i == 0 ? format("%s/%s", self, beside)
			      : format("%s/../%s/bulkhead/%s", self, i == 1 ? "libexec" : "lib",
				       installed);
		if (path && access(path, R_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

void vmm_find_files(struct vmm_files *files, const struct settings *settings)
{
	files->vmm = find_file("BULKHEAD_VMM", settings_text(settings, "vmm"), "bulkhead-vmm",
			       "bulkhead-vmm");
	files->kernel = find_file("BULKHEAD_KERNEL", settings_text(settings, "kernel"),
				  "guest/vmlinux", "vmlinux");
	files->initramfs = find_file("BULKHEAD_INITRAMFS", settings_text(settings, "initramfs"),
				     "guest/initramfs.cpio", "initramfs.cpio");
}

char *vmm_find_program(const char *name)
{
	return find_file("BULKHEAD_UNPACK", NULL, name, name);
}

void vmm_files_destroy(struct vmm_files *files)
{
	free(files->vmm);
	free(files->kernel);
	free(files->initramfs);
}

/* Tells about the first file that was not found. */
static int explain_missing(const char *what, const char *variable, struct error *err)
{
	const char *override = getenv(variable);

	if (override && *override)
		return error_set(err, access(override, R_OK) < 0 ? errno : EIO, "%s: %s=%s", what,
				 variable, override);
	return error_say(err, ENOENT,
			 "%s is missing: run make, or set %s; bulkhead check shows what is needed",
			 what, variable);
}

static int check_beginning(const char *path, const void *magic, size_t len, const char *problem,
			   struct error *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char bytes[8];
	ssize_t n;

	if (fd < 0)
		return error_set(err, errno, "open %s", path);
	n = read(fd, bytes, sizeof(bytes));
	if (n < 0)
		return error_set(err, errno, "read %s", path);
	if (n < (ssize_t)len || memcmp(bytes, magic, len) != 0)
		return error_say(err, ENOEXEC, "%s is not %s", path, problem);
	return 0;
}

int vmm_check_kernel(const char *path, struct error *err)
{
	return check_beginning(path, ELFMAG, SELFMAG, "an uncompressed kernel (an ELF vmlinux)",
			       err);
}

int vmm_check_initramfs(const char *path, struct error *err)
{
	return check_beginning(path, "070701", 6, "an uncompressed cpio archive (newc)", err);
}

int vmm_files_check(const struct vmm_files *files, struct error *err)
{
	if (!files->vmm)
		return explain_missing("bulkhead-vmm", "BULKHEAD_VMM", err);
	if (!files->kernel)
		return explain_missing("the guest's kernel", "BULKHEAD_KERNEL", err);
	if (!files->initramfs)
		return explain_missing("the guest's initramfs", "BULKHEAD_INITRAMFS", err);
	if (vmm_check_kernel(files->kernel, err) < 0 ||
	    vmm_check_initramfs(files->initramfs, err) < 0)
		return -ENOEXEC;
	/* Before anything else is refused to this user. What else is wrong with it the VMM says. */
	if (access("/dev/kvm", R_OK | W_OK) < 0 && errno == EACCES)
		return error_say(err, EACCES, KVM_NO_PERMISSION);
	return 0;
}

int vmm_probe(const char *vmm, struct error *err)
{
	char text[1024];
	size_t used;
	FILE *output;
	int status;
	/* Only an engineer's own path can hold a quote; none of those is worth a parser. */
	cleanup_free char *command = strchr(vmm, '\'') ? NULL : format("'%s' --probe 2>&1", vmm);

	output = command ? popen(command, "re") : NULL;
	if (!output)
		return error_say(err, EINVAL, "cannot run %s", vmm);
	used = fread(text, 1, sizeof(text) - 1, output);
	status = pclose(output);
	text[used] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (status == 0)
		return 0;
	return error_say(err, ENODEV, "%s", *text ? text : "bulkhead-vmm --probe failed");
}
