#include <check.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/error.h"
#include "tests/unit/suites.h"
#include "vmm/elf.h"

#define MEMORY (8u << 20)
#define MIB    (1u << 20)

static uint8_t bytes[MEMORY];
static struct guest_memory memory;

/* Two segments, with two MiB between them that are in neither; the second has a BSS. */
static const Elf64_Phdr segments[] = {
	{.p_type = PT_LOAD, .p_offset = 0x1000, .p_paddr = MIB, .p_filesz = 5, .p_memsz = 5},
	{.p_type = PT_NOTE, .p_offset = 0x1000, .p_filesz = 5, .p_memsz = 5},
	{.p_type = PT_LOAD,
	 .p_offset = 0x1005,
	 .p_paddr = 3 * MIB,
	 .p_filesz = 6,
	 .p_memsz = 0x3000},
};
static int fd;

static void setup(void)
{
	Elf64_Ehdr file = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_entry = MIB,
		.e_phoff = sizeof(file),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 3,
	};

	memory.count = 0;
	memset(bytes, 7, sizeof(bytes));
	ck_assert_int_eq(guest_memory_add(&memory, 0, sizeof(bytes), bytes), 0);
	fd = memfd_create("vmlinux", MFD_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, &file, sizeof(file), 0), sizeof(file));
	ck_assert_int_eq(pwrite(fd, segments, sizeof(segments), sizeof(file)), sizeof(segments));
	ck_assert_int_eq(pwrite(fd,
				"first"
				"second",
				11, 0x1000),
			 11);
}

static void teardown(void)
{
	close(fd);
}

START_TEST(segments_are_put_where_they_belong_and_nothing_else_is_touched)
{
	struct elf_image image;

	ck_assert_int_eq(elf_load(fd, "vmlinux", &memory, &image, NULL), 0);
	ck_assert_mem_eq(bytes + MIB, "first\7", 6);
	ck_assert_mem_eq(bytes + 3 * MIB, "second\7", 7);
	ck_assert_uint_eq(bytes[MIB - 1], 7);
	ck_assert_uint_eq(image.entry, MIB);
	ck_assert_uint_eq(image.start, MIB);
	ck_assert_uint_eq(image.end, 3 * MIB + 0x3000);
}
END_TEST

START_TEST(bytes_are_counted_in_segments_alone)
{
	struct elf_image image;

	ck_assert_int_eq(elf_measure(fd, "vmlinux", &image, NULL), 0);
	ck_assert_uint_eq(image.segment_count, 2);
	ck_assert_uint_eq(elf_bytes_within(&image, 0, MEMORY), 0x3005);
	ck_assert_uint_eq(elf_bytes_within(&image, 0, MIB), 0);
	ck_assert_uint_eq(elf_bytes_within(&image, MIB + 4, 3 * MIB), 1);
	ck_assert_uint_eq(elf_bytes_within(&image, 2 * MIB, 3 * MIB), 0);
	ck_assert_uint_eq(elf_bytes_within(&image, 3 * MIB + 0x1000, 3 * MIB + 0x2000), 0x1000);
}
END_TEST

START_TEST(what_does_not_fit_is_refused)
{
	Elf64_Phdr wrong = segments[2];
	struct error err = {0};
	struct elf_image image;

	wrong.p_paddr = MEMORY - 0x1000;
	ck_assert_int_eq(pwrite(fd, &wrong, sizeof(wrong), sizeof(Elf64_Ehdr) + 2 * sizeof(wrong)),
			 sizeof(wrong));
	ck_assert_int_eq(elf_load(fd, "vmlinux", &memory, &image, &err), -ENOMEM);
	wrong.p_paddr = MIB - 1;
	ck_assert_int_eq(pwrite(fd, &wrong, sizeof(wrong), sizeof(Elf64_Ehdr) + 2 * sizeof(wrong)),
			 sizeof(wrong));
	err = (struct error){0};
	ck_assert_int_eq(elf_measure(fd, "vmlinux", &image, &err), -ENOEXEC);
	ck_assert(strstr(err.message, "below 1 MiB"));
}
END_TEST

Suite *elf_suite(void)
{
	Suite *suite = suite_create("elf");
	TCase *tests = tcase_create("elf");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, segments_are_put_where_they_belong_and_nothing_else_is_touched);
	tcase_add_test(tests, bytes_are_counted_in_segments_alone);
	tcase_add_test(tests, what_does_not_fit_is_refused);
	suite_add_tcase(suite, tests);
	return suite;
}
