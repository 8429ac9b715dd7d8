/*
 * Layers of images: the archive that bulkhead-unpack reads. Without the program's own root around
 * it here, so that its checks of names and links alone keep it below its directory: beside that
 * nothing may appear. Needs root, as the program does.
 */
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/mman.h>

#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"

static int say_nothing(FILE *stream, const char *format, ...)
{
	(void)stream;
	(void)format;
	return 0;
}

/* The program itself, but for its main function. */
#define fprintf say_nothing
#define main	unpack_main
#include "unpack/unpack.c"
#undef main
#undef fprintf

#define OPEN_MAX 16

static int layer_fd, work_fd;

/* A root with the layer's directory; and this one and /proc, for the fuzzer itself. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char *here = getcwd(NULL, 0);
	int input_fd = memfd_create("layer", MFD_CLOEXEC);

	(void)argc;
	(void)argv;
	if (!here || input_fd < 0 || dup2(input_fd, STDIN_FILENO) < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/mnt", "tmpfs", 0, "size=64m,nr_inodes=8k") < 0 || chdir("/mnt") < 0 ||
	    mkdir("layer", 0755) < 0 || mkdir("work", 0755) < 0 || mkdir("proc", 0755) < 0 ||
	    mount("/proc", "proc", NULL, MS_BIND | MS_REC, NULL) < 0 ||
	    mount(here, "work", NULL, MS_BIND, NULL) < 0 || chroot(".") < 0) {
		perror("a room for the archive");
		exit(1);
	}
	layer_fd = open("/layer", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	work_fd = open("/work", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	driver_check(layer_fd >= 0 && work_fd >= 0 && fchdir(work_fd) == 0);
	free(here);
	return 0;
}

static int take_away(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	return at->level ? remove(path) : 0;
}

static void check_beside(void)
{
	DIR *dir = opendir("/");
	unsigned int entries = 0;

	driver_check(dir != NULL);
	while (readdir(dir))
		entries++;
	closedir(dir);
	driver_check(entries == 5); /* with . and .. */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct archive *from = archive_read_new(), *disk = archive_write_disk_new();

	driver_check(ftruncate(STDIN_FILENO, 0) == 0 &&
		     pwrite(STDIN_FILENO, data, size, 0) == (ssize_t)size &&
		     lseek(STDIN_FILENO, 0, SEEK_SET) == 0);
	driver_check(fchdir(layer_fd) == 0);
	limit = 1ull << 40;
	taken = 0;
	unpack(from, disk);
	driver_check(taken <= limit);
	archive_read_free(from);
	archive_write_free(disk);
	driver_check(fchdir(work_fd) == 0);
	check_beside();
	driver_check(nftw("/layer", take_away, OPEN_MAX, FTW_DEPTH | FTW_PHYS) == 0);
	return 0;
}
