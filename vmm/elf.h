/* Loads an uncompressed x86-64 vmlinux. */
#ifndef VMM_ELF_H
#define VMM_ELF_H

#include <stdint.h>

#include "common/error.h"
#include "devices/guest_memory.h"

struct elf_image {
	uint64_t entry; /* guest physical addresses */
	uint64_t start; /* first byte used */
	uint64_t end;	/* behind the last byte used, its BSS included */
};

/* Reads only the headers: what the image needs. */
int elf_measure(int fd, const char *path, struct elf_image *image, struct error *err);

/* Reads the segments straight into guest memory, whose untouched bytes are zero already. */
int elf_load(int fd, const char *path, const struct guest_memory *mem, struct elf_image *image,
	     struct error *err);

#endif
