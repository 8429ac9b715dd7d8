/* check: can this machine run containers? One line an item. */
#include "runtime/command.h"
#include "runtime/images.h"
#include "runtime/vmm_process.h"

#include "common/cleanup.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define MEMORY_MIN_MIB 256

static error_t parse(int key, char *arg, struct argp_state *state)
{
	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	argp_error(state, "too many arguments: \"%s\"", arg);
	return 0;
}

static const struct argp argp = {NULL, parse, NULL, "Says whether this machine can run containers.",
				 NULL, NULL,  NULL};

static bool item(const char *name, bool good, const char *text)
{
	printf("%-12s %s%s\n", name, good ? "ok: " : "MISSING: ", text);
	return good;
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

/* Whether the file begins with these bytes. */
static bool begins_with(const char *path, const char *magic, size_t len)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	char bytes[8];

	return fd >= 0 && read(fd, bytes, sizeof(bytes)) >= (ssize_t)len &&
	       !memcmp(bytes, magic, len);
}

static bool check_kernel(const char *path)
{
	if (!path)
		return item("kernel", false, "guest/vmlinux: run make, or set BULKHEAD_KERNEL");
	if (!begins_with(path, ELFMAG, SELFMAG))
		return item("kernel", false, "it is not an uncompressed vmlinux (ELF)");
	return item("kernel", true, path);
}

static bool check_initramfs(const char *path)
{
	if (!path)
		return item("initramfs", false,
			    "guest/initramfs.cpio: run make, or set BULKHEAD_INITRAMFS");
	if (!begins_with(path, "070701", 6))
		return item("initramfs", false, "it is not a cpio archive (newc)");
	return item("initramfs", true, path);
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

	(void)globals;
	(void)err;
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	vmm_find_files(&files);
	good = check_vmm(files.vmm);
	good &= check_kernel(files.kernel);
	good &= check_initramfs(files.initramfs);
	good &= check_tool("mkfs.erofs", "erofs-utils");
	good &= check_tool("mkfs.ext4", "e2fsprogs");
	good &= check_memory();
	return good ? 0 : 1;
}
