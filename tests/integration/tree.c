/*
 * tree DIR [LEFT-OUT...]: one line for every entry below DIR, on its file system, with all that
 * there is to it: type, mode, owner, size, time, links, device, extended attributes, content, and
 * which name is the same file. Names in LEFT-OUT (relative to DIR) are not looked at. Sort the
 * lines.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "runtime/digest.h"

static char **left_out;
static dev_t device;

static bool is_left_out(const char *path)
{
	for (char **name = left_out; *name; name++)
		if (!strcmp(path, *name))
			return true;
	return false;
}

static void print_attributes(const char *path)
{
	char names[65536], value[65536];
	ssize_t len = llistxattr(path, names, sizeof(names));

	for (const char *name = names; len > 0 && name < names + len; name += strlen(name) + 1) {
		ssize_t n = lgetxattr(path, name, value, sizeof(value));

		/* They are shown to administrators alone, which a container's root is not. */
		if (!strncmp(name, "trusted.", 8))
			continue;
		printf(" %s=", name);
		for (ssize_t i = 0; i < n; i++)
			printf("%02x", (unsigned char)value[i]);
	}
}

static void print_content(const char *path, mode_t mode)
{
	char text[4096];
	ssize_t len;

	if (S_ISREG(mode)) {
		char digest[DIGEST_HEX + 1] = "unreadable";
		int fd = open(path, O_RDONLY | O_NOFOLLOW);

		if (fd >= 0)
			digest_file(fd, digest, NULL);
		close(fd);
		printf(" %s", digest);
	} else if (S_ISLNK(mode)) {
		len = readlink(path, text, sizeof(text));
		printf(" -> %.*s", (int)len, text);
	}
}

/* A file has its content once, at the first of its names: they are met in order. */
static bool print_first_name(const char *path, const struct stat *st)
{
	static struct {
		ino_t inode;
		char *path;
	} * linked;
	static size_t count;

	for (size_t i = 0; i < count; i++)
		if (linked[i].inode == st->st_ino) {
			printf(" is %s", linked[i].path);
			return true;
		}
	linked = reallocarray(linked, count + 1, sizeof(*linked));
	if (!linked)
		exit(1);
	linked[count].inode = st->st_ino;
	linked[count++].path = strdup(path);
	return false;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void walk(const char *dir)
{
	struct dirent **entries;
	int count = scandir(dir, &entries, NULL, by_bytes);

	if (count < 0)
		printf("%s cannot be read\n", dir);
	for (int i = 0; i < count; i++) {
		struct dirent *entry = entries[i];
		struct stat st;
		char *path;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
		    asprintf(&path, "%s%s%s", strcmp(dir, ".") ? dir : "",
			     strcmp(dir, ".") ? "/" : "", entry->d_name) < 0)
			continue;
		if (!is_left_out(path) && lstat(path, &st) == 0 && st.st_dev == device) {
			bool is_dir = S_ISDIR(st.st_mode);

			printf("%s %o %u:%u %lld %lld.%09ld %lu %u,%u", path, st.st_mode, st.st_uid,
			       st.st_gid, is_dir ? 0ll : (long long)st.st_size,
			       (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
			       is_dir ? 0ul : (unsigned long)st.st_nlink, major(st.st_rdev),
			       minor(st.st_rdev));
			print_attributes(path);
			if (is_dir || st.st_nlink == 1 || !print_first_name(path, &st))
				print_content(path, st.st_mode);
			putchar('\n');
			if (is_dir)
				walk(path);
		}
		free(path);
	}
	if (count >= 0)
		free(entries);
}

int main(int argc, char **argv)
{
	struct stat st;

	if (argc < 2 || chdir(argv[1]) < 0 || stat(".", &st) < 0) {
		perror(argc < 2 ? "usage: tree DIR [LEFT-OUT...]" : argv[1]);
		return 1;
	}
	device = st.st_dev;
	left_out = argv + 2;
	walk(".");
	return fflush(stdout) == EOF;
}
