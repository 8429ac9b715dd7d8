#include "vmm/boot_params.h"

#include <asm/bootparam.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/whole.h"
#include "vmm/layout.h"

/*
 * quiet comes before the early console, which else would first print all that is known by then.
 * Without rcu_expedited whoever waits for a grace period, the agent's first mounts among them,
 * sleeps for jiffies. Without noreplace-smp the kernel of a VM with one CPU takes the lock prefix
 * from 7,000 instructions, one by one.
 */
#define BASE_CMDLINE                                                            \
	"quiet console=hvc0 earlyprintk=serial,0x3f8,115200 reboot=k panic=-1 " \
	"rcupdate.rcu_expedited=1 noreplace-smp"

/* Boot protocol, "kernel_info" and below: who loaded us, "undefined", and the version spoken. */
#define LOADER_UNDEFINED 0xff
#define BOOT_FLAG	 0xaa55
#define HEADER_MAGIC	 0x53726448 /* "HdrS" */
#define BOOT_PROTOCOL	 0x020f
/* X86_SUBARCH_CE4100: no RTC, no i8042, no probing for what is not there. */
#define SUBARCH_CE4100 4

#define E820_RAM  1
#define SEED_SIZE 32

/* What a kernel needs beside itself and its initramfs: its tables, and the agent's own memory. */
#define WORKING_MEMORY (24ull << 20)
#define PAGE_SIZE      4096ull
#define FEW_BYTES      (64 * PAGE_SIZE)
#define MIB	       (1ull << 20)

static int open_file(const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? error_set(err, errno, "open %s", path) : fd;
}

int boot_open(struct boot_files *files, struct error *err)
{
	files->initramfs_fd = -1;
	files->kernel_fd = open_file(files->kernel, err);
	if (files->kernel_fd >= 0 && files->initramfs)
		files->initramfs_fd = open_file(files->initramfs, err);
	if (files->kernel_fd >= 0 && (!files->initramfs || files->initramfs_fd >= 0))
		return 0;
	boot_close(files);
	return -err->code;
}

void boot_close(struct boot_files *files)
{
	close_fd(&files->kernel_fd);
	close_fd(&files->initramfs_fd);
}

static int file_size(int fd, const char *path, uint64_t *size, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return error_say(err, EINVAL, "%s: not a regular file", path);
	*size = (uint64_t)st.st_size;
	return 0;
}

static int check_size(const struct vm_memory *mem, const struct elf_image *kernel,
		      uint64_t initramfs, struct error *err)
{
	uint64_t needed = kernel->end + initramfs + WORKING_MEMORY;

	if (mem->low >= needed)
		return 0;
	return error_say(
		err, ENOMEM,
		"%llu MiB of memory are too few for a guest: its kernel needs at least %llu MiB",
		(unsigned long long)(mem->size / MIB),
		(unsigned long long)((needed + MIB - 1) / MIB));
}

/*
 * A huge page takes as long to clear as two hundred small ones take to come by faults. Of our
 * kernel there are 2 MiB with three pages in them, its code of entries.
 */
static void choose_pages(const struct vm_memory *mem, const struct elf_image *kernel)
{
	uint64_t at = (kernel->start + MEMORY_HUGE_PAGE - 1) & ~(MEMORY_HUGE_PAGE - 1);
	uint64_t end = kernel->end < mem->low ? kernel->end : mem->low;

	/* What is behind the kernel it will use for other things. */
	for (; at + MEMORY_HUGE_PAGE <= end; at += MEMORY_HUGE_PAGE)
		if (elf_bytes_within(kernel, at, at + MEMORY_HUGE_PAGE) < FEW_BYTES)
			vm_memory_use_small_pages(mem, at);
}

/* At the top of low memory, so that the kernel's own allocations below stay in one piece. */
static int load_initramfs(const struct vm_memory *mem, int fd, const char *path, uint64_t size,
			  struct boot_params *zero_page, struct error *err)
{
	uint64_t at = (mem->low - size) & ~(PAGE_SIZE - 1);
	uint8_t *to = guest_memory_range(&mem->map, at, size);
	ssize_t got;

	if (!to)
		return error_say(err, EINVAL, "%s: an empty initramfs", path);
	got = pread_all(fd, to, size, 0);
	if (got < 0)
		return error_set(err, (int)-got, "read %s", path);
	if ((uint64_t)got < size)
		return error_say(err, EIO, "%s: the file has become shorter", path);
	zero_page->hdr.ramdisk_image = (uint32_t)at;
	zero_page->hdr.ramdisk_size = (uint32_t)size;
	return 0;
}

static int write_cmdline(const struct vm_memory *mem, const char *extra,
			 struct boot_params *zero_page, struct error *err)
{
	char line[LAYOUT_CMDLINE_SIZE];
	int len = snprintf(line, sizeof(line), "%s%s%s", BASE_CMDLINE, extra ? " " : "",
			   extra ? extra : "");

	if ((size_t)len >= sizeof(line))
		return error_say(err, EINVAL, "the kernel's command line is longer than %u bytes",
				 LAYOUT_CMDLINE_SIZE - 1);
	zero_page->hdr.cmd_line_ptr = LAYOUT_CMDLINE;
	zero_page->hdr.cmdline_size = LAYOUT_CMDLINE_SIZE - 1;
	return guest_memory_write(&mem->map, LAYOUT_CMDLINE, line, (size_t)len + 1);
}

/* Device tree, then seed: a chain in which each element names the next. */
static int write_setup_data(const struct vm_memory *mem, const void *dtb, size_t dtb_len,
			    struct boot_params *zero_page, struct error *err)
{
	uint64_t dtb_at = LAYOUT_SETUP_DATA;
	uint64_t seed_at = (dtb_at + sizeof(struct setup_data) + dtb_len + 15) & ~15ull;
	struct setup_data head = {.next = seed_at, .type = SETUP_DTB, .len = (uint32_t)dtb_len};
	uint8_t seed[SEED_SIZE];
	int ret;

	if (seed_at + sizeof(head) + sizeof(seed) > LAYOUT_LOW_END)
		return error_say(err, E2BIG, "the device tree is too large");
	ret = guest_memory_write(&mem->map, dtb_at, &head, sizeof(head));
	if (ret == 0)
		ret = guest_memory_write(&mem->map, dtb_at + sizeof(head), dtb, dtb_len);

	/* With it "crng init done" comes at once. */
	if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return error_set(err, errno, "getrandom");
	head = (struct setup_data){.type = SETUP_RNG_SEED, .len = sizeof(seed)};
	if (ret == 0)
		ret = guest_memory_write(&mem->map, seed_at, &head, sizeof(head));
	if (ret == 0)
		ret = guest_memory_write(&mem->map, seed_at + sizeof(head), seed, sizeof(seed));
	explicit_bzero(seed, sizeof(seed));
	zero_page->hdr.setup_data = dtb_at;
	return ret;
}

static void add_e820(struct boot_params *zero_page, uint64_t start, uint64_t end)
{
	if (end <= start)
		return;
	zero_page->e820_table[zero_page->e820_entries++] = (struct boot_e820_entry){
		.addr = start,
		.size = end - start,
		.type = E820_RAM,
	};
}

static void fill_zero_page(const struct vm_memory *mem, struct boot_params *zero_page)
{
	zero_page->hdr.type_of_loader = LOADER_UNDEFINED;
	zero_page->hdr.boot_flag = BOOT_FLAG;
	zero_page->hdr.header = HEADER_MAGIC;
	zero_page->hdr.version = BOOT_PROTOCOL;
	zero_page->hdr.loadflags = LOADED_HIGH | KEEP_SEGMENTS;
	zero_page->hdr.kernel_alignment = 0x200000;
	zero_page->hdr.hardware_subarch = SUBARCH_CE4100;
	add_e820(zero_page, 0, LAYOUT_LOW_END);
	add_e820(zero_page, LAYOUT_HIGH_START, mem->low);
	add_e820(zero_page, MEMORY_HIGH_START, MEMORY_HIGH_START + (mem->size - mem->low));
}

/* The boot protocol's selectors: code at 0x10, data at 0x18. */
static const uint64_t gdt[] = {
	0,
	0,
	0x00af9b000000ffffull, /* 64-bit code */
	0x00cf93000000ffffull, /* data */
	0x008f8b000000ffffull, /* busy TSS: VT-x insists on one */
};

/* Identity map of the first GiB in 2 MiB pages: PML4, one PDPT, one page directory. */
static int write_cpu_tables(const struct vm_memory *mem)
{
	uint64_t pml4 = LAYOUT_PAGE_TABLES, pdpt = pml4 + PAGE_SIZE, directory = pdpt + PAGE_SIZE;
	uint64_t entries[512];
	uint64_t entry;
	int ret = guest_memory_write(&mem->map, LAYOUT_GDT, gdt, sizeof(gdt));

	entry = pdpt | 3;
	if (ret == 0)
		ret = guest_memory_write(&mem->map, pml4, &entry, sizeof(entry));
	entry = directory | 3;
	if (ret == 0)
		ret = guest_memory_write(&mem->map, pdpt, &entry, sizeof(entry));
	for (uint64_t i = 0; i < 512; i++)
		entries[i] = i << 21 | 0x83; /* present, writable, 2 MiB */
	if (ret == 0)
		ret = guest_memory_write(&mem->map, directory, entries, sizeof(entries));
	return ret;
}

int boot_load(const struct vm_memory *mem, const struct boot_files *files, const void *dtb,
	      size_t dtb_len, uint64_t *entry, struct error *err)
{
	cleanup_free struct boot_params *zero_page = calloc(1, sizeof(*zero_page));
	uint64_t initramfs_size = 0;
	struct elf_image kernel;
	int ret;

	if (!zero_page)
		return error_set(err, ENOMEM, "boot");
	ret = elf_measure(files->kernel_fd, files->kernel, &kernel, err);
	if (ret == 0 && files->initramfs)
		ret = file_size(files->initramfs_fd, files->initramfs, &initramfs_size, err);
	if (ret == 0)
		ret = check_size(mem, &kernel, initramfs_size, err);
	if (ret == 0)
		choose_pages(mem, &kernel);
	if (ret == 0)
		ret = elf_load(files->kernel_fd, files->kernel, &mem->map, &kernel, err);
	if (ret == 0 && files->initramfs)
		ret = load_initramfs(mem, files->initramfs_fd, files->initramfs, initramfs_size,
				     zero_page, err);
	if (ret == 0)
		ret = write_cmdline(mem, files->cmdline, zero_page, err);
	if (ret == 0)
		ret = write_setup_data(mem, dtb, dtb_len, zero_page, err);
	if (ret == 0)
		ret = write_cpu_tables(mem);
	if (ret < 0)
		return error_set(err, -ret, "boot");
	fill_zero_page(mem, zero_page);
	*entry = kernel.entry;
	return guest_memory_write(&mem->map, LAYOUT_ZERO_PAGE, zero_page, sizeof(*zero_page));
}

void boot_registers(struct kvm_sregs *sregs, struct kvm_regs *regs, uint64_t entry)
{
	struct kvm_segment data = {
		.limit = 0xffffffff,
		.selector = 0x18,
		.type = 3,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1,
	};
	struct kvm_segment code = data;

	code.selector = 0x10;
	code.type = 11;
	code.l = 1;
	code.db = 0;
	sregs->cs = code;
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr =
		(struct kvm_segment){.limit = 0xffff, .selector = 0x20, .type = 11, .present = 1};
	sregs->gdt.base = LAYOUT_GDT;
	sregs->gdt.limit = sizeof(gdt) - 1;
	sregs->idt.base = 0;
	sregs->idt.limit = 0;
	sregs->cr0 = 0x80050033; /* PG, AM, WP, NE, ET, MP, PE */
	sregs->cr3 = LAYOUT_PAGE_TABLES;
	sregs->cr4 = 0x20;   /* PAE */
	sregs->efer = 0x500; /* LME, LMA */

	memset(regs, 0, sizeof(*regs));
	regs->rip = entry;
	regs->rsi = LAYOUT_ZERO_PAGE;
	regs->rflags = 2;
}
