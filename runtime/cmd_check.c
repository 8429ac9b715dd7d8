/* check: can this machine run containers? One line an item. */
#include "runtime/command.h"
#include "runtime/host_facts.h"
#include "runtime/options.h"
#include "runtime/tool.h"
#include "runtime/vmm_files.h"

#include "common/cleanup.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#define MEMORY_MIN_MIB 256

static const struct command_line command_line = {
	.about = "Says whether this machine can run containers."};

static bool item(const char *name, bool good, const char *text)
{
	printf("%-12s %s%s\n", name, good ? "ok: " : "MISSING: ", text);
	return good;
}

/* For the host's owner to know; containers run all the same. */
static void fact(const char *name, int good, const char *text)
{
	printf("%-12s %s%s\n", name, good ? "ok: " : "note: ", text);
}

static bool check_vmm(const char *path)
{
	struct error why = {0};

	if (!path)
		return item("vmm", false, "bulkhead-vmm: run make, or set BULKHEAD_VMM");
	if (vmm_probe(path, &why) < 0)
		return item("kvm", false, why.message) && item("vmm", true, path);
	return item("vmm", true, path) && item("kvm", true, "runs guests");
}

static bool check_file(const char *name, const char *path, const char *missing,
		       int (*check)(const char *, struct error *))
{
	struct error why = {0};

	if (!path)
		return item(name, false, missing);
	return check(path, &why) < 0 ? item(name, false, why.message) : item(name, true, path);
}

static bool check_tool(const char *tool, const char *package)
{
	cleanup_free char *path = find_tool(tool);
	char text[64];

	snprintf(text, sizeof(text), "install %s", package);
	return item(tool, path, path ? path : text);
}

static bool check_memory(void)
{
	struct sysinfo info;
	unsigned long mib;
	char text[64];

	if (sysinfo(&info) < 0)
		return item("memory", false, "sysinfo failed");
	mib = (info.freeram + info.bufferram) / 1024 * info.mem_unit / 1024;
	/* MemAvailable counts the page cache, which can be given back. */
	cleanup_file FILE *file = fopen("/proc/meminfo", "re");
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %lu kB", &mib) == 1)
			mib /= 1024;
	snprintf(text, sizeof(text), "%lu MiB available, a container takes up to %d", mib,
		 MEMORY_MIN_MIB);
	return item("memory", mib >= MEMORY_MIN_MIB, text);
}

int cmd_check(struct globals *globals, int argc, char **argv, struct error *err)
{
	cleanup_vmm_files struct vmm_files files = {0};
	bool good;
	int ret;

	ret = options_parse(&command_line, argc, argv, options_take_nothing, NULL, err);
	if (ret < 0)
		return ret;
	vmm_find_files(&files, &globals->settings);
	good = check_vmm(files.vmm);
	good &= check_file("kernel", files.kernel,
			   "guest/vmlinux: run make, or set BULKHEAD_KERNEL", vmm_check_kernel);
	good &= check_file("initramfs", files.initramfs,
			   "guest/initramfs.cpio: run make, or set BULKHEAD_INITRAMFS",
			   vmm_check_initramfs);
	good &= check_tool("mkfs.erofs", "erofs-utils");
	good &= check_tool("mkfs.ext4", "e2fsprogs");
	good &= check_memory();
	host_facts(fact);
	if (fflush(stdout) == EOF)
		return error_set(err, errno, "write the results");
	return good ? 0 : 1;
}
