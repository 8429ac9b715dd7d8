/* Everything a 64-bit Linux kernel wants to find in memory when it is entered. */
#ifndef VMM_BOOT_PARAMS_H
#define VMM_BOOT_PARAMS_H

#include <linux/kvm.h>
#include <stddef.h>

#include "common/error.h"
#include "vmm/elf.h"
#include "vmm/memory.h"

struct boot_files {
	const char *kernel;    /* for messages */
	const char *initramfs; /* or NULL */
	const char *cmdline;   /* appended to ours, or NULL */
	int kernel_fd;	       /* -1 when not open */
	int initramfs_fd;
};

/* Opens kernel and initramfs. The jail comes between this and boot_load. */
int boot_open(struct boot_files *files, struct error *err);
void boot_close(struct boot_files *files);

/*
 * Loads kernel and initramfs and writes zero page, command line, device tree, seed, GDT and page
 * tables. *entry is where vCPU 0 starts.
 */
int boot_load(const struct vm_memory *mem, const struct boot_files *files, const void *dtb,
	      size_t dtb_len, uint64_t *entry, struct error *err);

/* The registers of vCPU 0 for that entry: long mode, flat segments, RSI at the zero page. */
void boot_registers(struct kvm_sregs *sregs, struct kvm_regs *regs, uint64_t entry);

#endif
