/* Loads an uncompressed x86-64 vmlinux. */
#ifndef VMM_ELF_H
#define VMM_ELF_H

#include <stdint.h>

#include "common/error.h"
#include "devices/guest_memory.h"

#define ELF_SEGMENTS_MAX 32

struct elf_segment {
	uint64_t start, end;
};

struct elf_image {
	uint64_t entry; /* guest physical addresses */
	uint64_t start; /* first byte used */
	uint64_t end;	/* behind the last byte used, its BSS included */
	struct elf_segment segments[ELF_SEGMENTS_MAX];
	unsigned int segment_count;
};

/* Reads only the headers: what the image needs. */
int elf_measure(int fd, const char *path, struct elf_image *image, struct error *err);

/* How many bytes from start up to end belong to segments. */
uint64_t elf_bytes_within(const struct elf_image *image, uint64_t start, uint64_t end);

/* Reads the segments straight into guest memory, whose untouched bytes are zero already. */
int elf_load(int fd, const char *path, const struct guest_memory *mem, struct elf_image *image,
	     struct error *err);

#endif
