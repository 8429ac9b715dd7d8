/* The files that a VM is made of: bulkhead-vmm, the guest's kernel and its initramfs. */
#ifndef RUNTIME_VMM_FILES_H
#define RUNTIME_VMM_FILES_H

#include "common/error.h"
#include "runtime/settings.h"

struct vmm_files {
	char *vmm, *kernel, *initramfs; /* NULL when not found */
};

/*
 * Each where BULKHEAD_VMM, BULKHEAD_KERNEL and BULKHEAD_INITRAMFS say, where the settings say,
 * beside the runtime's own binary (build/), or in PREFIX/libexec/bulkhead or PREFIX/lib/bulkhead.
 */
void vmm_find_files(struct vmm_files *files, const struct settings *settings);
/* A program of ours, looked for as the VMM is. NULL when it is missing. */
char *vmm_find_program(const char *name);

/* Whether the beginning of the file is what it should be. Returns 0, or a negative errno and why.
 */
int vmm_check_kernel(const char *path, struct error *err);
int vmm_check_initramfs(const char *path, struct error *err);

/* One line about the first file that was not found or cannot be right. */
int vmm_files_check(const struct vmm_files *files, struct error *err);
void vmm_files_destroy(struct vmm_files *files);
#define cleanup_vmm_files __attribute__((cleanup(vmm_files_destroy)))

/* `bulkhead-vmm --probe`. Returns 0, or a negative errno with the line that it printed. */
int vmm_probe(const char *vmm, struct error *err);

#endif
