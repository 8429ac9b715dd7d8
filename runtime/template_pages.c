#include "runtime/template_pages.h"
#include "runtime/file.h"
#include "runtime/template.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE	   4096u
#define CHUNK	   4096u	/* pages looked at in one go */
#define IS_PRESENT (1ull << 63) /* in an entry of /proc/PID/pagemap */
#define IS_SWAPPED (1ull << 62)
#define IS_FILES   (1ull << 61)

/* Where in the VMM the template is mapped: of its size, private, and so named. 0: nowhere. */
static uint64_t find_mapping(pid_t pid, uint64_t size)
{
	cleanup_free char *path = format("/proc/%d/maps", pid);
	cleanup_file FILE *maps = path ? fopen(path, "re") : NULL;
	char line[512];

	while (maps && fgets(line, sizeof(line), maps)) {
		unsigned long start, end;
		size_t len = strcspn(line, "\n");

		/* The template may have been removed since. */
		if (len > 10 && !strncmp(line + len - 10, " (deleted)", 10))
			len -= 10;
		if (sscanf(line, "%lx-%lx rw-p", &start, &end) == 2 && end - start == size &&
		    len > 7 && !strncmp(line + len - 7, "/" TEMPLATE_MEMORY, 7))
			return start;
	}
	return 0;
}

/* A bit for each page that is the clone's own. */
static int look_at_pages(int pagemap, uint64_t start, uint64_t pages, uint8_t *bits)
{
	uint64_t entries[CHUNK];

	for (uint64_t at = 0; at < pages; at += CHUNK) {
		size_t count = pages - at < CHUNK ? pages - at : CHUNK;
		size_t len = count * sizeof(*entries);

		if (pread(pagemap, entries, len, (off_t)((start / PAGE + at) * sizeof(*entries))) !=
		    (ssize_t)len)
			return -EIO;
		for (size_t i = 0; i < count; i++)
			if ((entries[i] & (IS_PRESENT | IS_FILES)) == IS_PRESENT ||
			    entries[i] & IS_SWAPPED)
				bits[(at + i) / 8] |= (uint8_t)(1u << (at + i) % 8);
	}
	return 0;
}

int template_find_pages(pid_t pid, uint64_t size, uint8_t **bits)
{
	cleanup_free char *path = format("/proc/%d/pagemap", pid);
	cleanup_fd int pagemap = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	uint64_t start = find_mapping(pid, size);
	int ret;

	*bits = NULL;
	if (!start)
		return 0;
	*bits = pagemap < 0 ? NULL : calloc(1, size / PAGE / 8);
	ret = *bits ? look_at_pages(pagemap, start, size / PAGE, *bits) : -EIO;
	return ret < 0 ? ret : 1;
}

void template_record_pages(const char *name, pid_t pid)
{
	cleanup_fd int dir_fd = template_open(name);
	cleanup_free uint8_t *bits = NULL;
	struct stat memory;

	if (dir_fd < 0 || fstatat(dir_fd, TEMPLATE_MEMORY, &memory, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (template_find_pages(pid, (uint64_t)memory.st_size, &bits) <= 0)
		log_debug("template %s: the pages that are written cannot be seen", name);
	else
		file_replace(dir_fd, TEMPLATE_PAGES, 0600, bits, (size_t)memory.st_size / PAGE / 8,
			     NULL);
}
