#include "vmm/memory.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "common/cleanup.h"

int vm_memory_create(struct vm_memory *mem, uint64_t size, struct error *err)
{
	int ret;

	memset(mem, 0, sizeof(*mem));
	mem->fd = memfd_create("guest-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (mem->fd < 0)
		return error_set(err, errno, "guest memory: memfd_create");
	if (ftruncate(mem->fd, (off_t)size) < 0) {
		ret = error_set(err, errno, "guest memory: %llu MiB",
				(unsigned long long)size >> 20);
		goto fail;
	}
	/* A vhost-user back end that shares this file must not shrink it: we would get SIGBUS. */
	if (fcntl(mem->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		ret = error_set(err, errno, "guest memory: seal");
		goto fail;
	}
	mem->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, mem->fd,
			 0);
	if (mem->base == MAP_FAILED) {
		mem->base = NULL;
		ret = error_set(err, errno, "guest memory: map %llu MiB",
				(unsigned long long)size >> 20);
		goto fail;
	}
	mem->size = size;
	mem->low = size < MEMORY_LOW_MAX ? size : MEMORY_LOW_MAX;
	/* Halves the time to boot where the host allows it (shmem_enabled=advise); else ignored. */
	madvise(mem->base, size, MADV_HUGEPAGE);
	/* Secrets of a container do not belong into a core file of ours. */
	madvise(mem->base, size, MADV_DONTDUMP);

	ret = guest_memory_add(&mem->map, 0, mem->low, mem->base);
	if (ret == 0 && size > mem->low)
		ret = guest_memory_add(&mem->map, MEMORY_HIGH_START, size - mem->low,
				       mem->base + mem->low);
	if (ret < 0) {
		error_set(err, -ret, "guest memory");
		goto fail;
	}
	return 0;
fail:
	vm_memory_destroy(mem);
	return ret;
}

void vm_memory_destroy(struct vm_memory *mem)
{
	if (mem->base)
		munmap(mem->base, mem->size);
	mem->base = NULL;
	close_fd(&mem->fd);
}

int vm_memory_attach(const struct vm_memory *mem, struct kvm *kvm, struct error *err)
{
	for (unsigned int i = 0; i < mem->map.count; i++) {
		const struct guest_region *region = &mem->map.regions[i];
		int ret = kvm_add_memory(kvm, i, region->gpa, region->len, region->bytes, err);

		if (ret < 0)
			return ret;
	}
	return 0;
}
