/* An ELF file that is no kernel, or a strange one: it is measured and loaded into 8 MiB of guest.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"
#include "vmm/elf.h"

#define MEMORY (8u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest_memory memory;
	static void *bytes;
	static int fd = -1;
	struct elf_image measured, loaded;

	if (!bytes) {
		bytes = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		driver_check(bytes != MAP_FAILED);
		driver_check(guest_memory_add(&memory, 0, MEMORY, bytes) == 0);
		fd = memfd_create("vmlinux", MFD_CLOEXEC);
	}
	driver_check(fd >= 0 && ftruncate(fd, 0) == 0);
	driver_check(pwrite(fd, data, size, 0) == (ssize_t)size);
	if (elf_measure(fd, "vmlinux", &measured, NULL) < 0)
		return 0;
	driver_check(measured.start >= 0x100000 && measured.start < measured.end);
	driver_check(measured.entry >= measured.start && measured.entry < measured.end);
	if (elf_load(fd, "vmlinux", &memory, &loaded, NULL) == 0)
		driver_check(loaded.end <= MEMORY);
	madvise(bytes, MEMORY, MADV_DONTNEED);
	return 0;
}
