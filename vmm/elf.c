#include "vmm/elf.h"

#include <elf.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "common/whole.h"

struct headers {
	Elf64_Ehdr file;
	Elf64_Phdr segments[ELF_SEGMENTS_MAX];
};

static int read_all(int fd, void *buf, size_t len, uint64_t offset, const char *path,
		    struct error *err)
{
	ssize_t got = pread_all(fd, buf, len, (off_t)offset);

	if (got < 0)
		return error_set(err, (int)-got, "read %s", path);
	if ((size_t)got < len)
		return error_say(err, ENOEXEC, "%s: the file is cut off", path);
	return 0;
}

static int read_headers(int fd, const char *path, struct headers *headers, struct error *err)
{
	Elf64_Ehdr *file = &headers->file;
	ssize_t got = pread(fd, file, sizeof(*file), 0);

	if (got < 0)
		return error_set(err, errno, "read %s", path);
	if ((size_t)got < sizeof(*file) || memcmp(file->e_ident, ELFMAG, SELFMAG) != 0)
		return error_say(
			err, ENOEXEC,
			"%s: not an ELF file; an uncompressed vmlinux is needed, not a bzImage",
			path);
	if (file->e_ident[EI_CLASS] != ELFCLASS64 || file->e_ident[EI_DATA] != ELFDATA2LSB ||
	    file->e_machine != EM_X86_64 || file->e_type != ET_EXEC)
		return error_say(err, ENOEXEC, "%s: not an x86-64 kernel (vmlinux)", path);
	if (file->e_phentsize != sizeof(Elf64_Phdr) || file->e_phnum == 0 ||
	    file->e_phnum > ELF_SEGMENTS_MAX)
		return error_say(err, ENOEXEC, "%s: its program headers make no sense", path);
	return read_all(fd, headers->segments, file->e_phnum * sizeof(Elf64_Phdr), file->e_phoff,
			path, err);
}

static int measure(const struct headers *headers, const char *path, struct elf_image *image,
		   struct error *err)
{
	*image = (struct elf_image){.entry = headers->file.e_entry, .start = UINT64_MAX};
	for (unsigned int i = 0; i < headers->file.e_phnum; i++) {
		const Elf64_Phdr *segment = &headers->segments[i];
		uint64_t end;

		if (segment->p_type != PT_LOAD || segment->p_memsz == 0)
			continue;
		if (segment->p_filesz > segment->p_memsz ||
		    __builtin_add_overflow(segment->p_paddr, segment->p_memsz, &end))
			return error_say(err, ENOEXEC, "%s: segment %u makes no sense", path, i);
		/* Below 1 MiB are the things that the kernel is given at boot. */
		if (segment->p_paddr < 0x100000)
			return error_say(err, ENOEXEC, "%s: segment %u lies below 1 MiB", path, i);
		if (segment->p_paddr < image->start)
			image->start = segment->p_paddr;
		if (end > image->end)
			image->end = end;
		image->segments[image->segment_count++] = (struct elf_segment){segment->p_paddr,
									       end};
	}
	if (image->entry < image->start || image->entry >= image->end)
		return error_say(err, ENOEXEC, "%s: its entry point is outside of its segments",
				 path);
	return 0;
}

int elf_measure(int fd, const char *path, struct elf_image *image, struct error *err)
{
	struct headers headers;
	int ret = read_headers(fd, path, &headers, err);

	return ret < 0 ? ret : measure(&headers, path, image, err);
}

uint64_t elf_bytes_within(const struct elf_image *image, uint64_t start, uint64_t end)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < image->segment_count; i++) {
		const struct elf_segment *segment = &image->segments[i];
		uint64_t from = segment->start > start ? segment->start : start;
		uint64_t to = segment->end < end ? segment->end : end;

		if (from < to)
			bytes += to - from;
	}
	return bytes;
}

int elf_load(int fd, const char *path, const struct guest_memory *mem, struct elf_image *image,
	     struct error *err)
{
	struct headers headers;
	int ret = read_headers(fd, path, &headers, err);

	if (ret == 0)
		ret = measure(&headers, path, image, err);
	for (unsigned int i = 0; ret == 0 && i < headers.file.e_phnum; i++) {
		const Elf64_Phdr *segment = &headers.segments[i];
		void *to;

		if (segment->p_type != PT_LOAD || segment->p_memsz == 0)
			continue;
		to = guest_memory_range(mem, segment->p_paddr, segment->p_memsz);
		if (!to)
			return error_say(err, ENOMEM, "%s: segment %u does not fit guest memory",
					 path, i);
		ret = read_all(fd, to, segment->p_filesz, segment->p_offset, path, err);
	}
	return ret;
}
