#include "runtime/template.h"
#include "runtime/file.h"
#include "runtime/store.h"

#include "common/cleanup.h"

#include <cpuid.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define SHAPE_MAX 8192
#define OTHERS	  0077 /* have no rights: nobody but us has written it, or knows what is in it */

int template_open_dir(struct error *err)
{
	cleanup_fd int fd = store_open(TEMPLATES_DIR, err);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return error_set(err, errno, "stat %s/" TEMPLATES_DIR, store_path());
	if (!file_is_ours(&st, S_IFDIR, OTHERS))
		return error_say(err, EPERM,
				 "%s/" TEMPLATES_DIR ": must be of mode 0700 and belong to user %u",
				 store_path(), geteuid());
	return take_fd(&fd);
}

int template_open(const char *name)
{
	cleanup_fd int parent_fd = template_open_dir(NULL);

	return parent_fd < 0
		       ? -1
		       : openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* --- the shape --- */

static void describe_file(FILE *out, const char *what, const char *path)
{
	struct stat st = {0};

	/* A file that is gone is found out about elsewhere. */
	if (stat(path, &st) < 0)
		return;
	fprintf(out, "%s=%s:%llx:%llx:%lld:%lld.%09ld:%lld.%09ld ", what, path,
		(unsigned long long)st.st_dev, (unsigned long long)st.st_ino, (long long)st.st_size,
		(long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_ctim.tv_sec,
		st.st_ctim.tv_nsec);
}

/* The CPU's model and features: the VMM compares in full what the guest is shown of them. */
static void describe_cpu(FILE *out)
{
	static const unsigned int leaves[] = {0, 1, 7, 0x80000001};

	fputs("cpu=", out);
	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		unsigned int a = 0, b = 0, c = 0, d = 0;

		__cpuid_count(leaves[i], 0, a, b, c, d);
		/* In leaf 1 EBX says which CPU this is. */
		fprintf(out, "%x,%x,%x,%x;", a, leaves[i] == 1 ? 0 : b, c & ~(1u << 27), d);
	}
}

static void describe_rest(FILE *out, const struct template_shape *shape)
{
	struct utsname host;

	uname(&host);
	fprintf(out, " vcpus=%u disks=%u%s nics=%u%s%s ", shape->size.vcpus, shape->lowers,
		shape->scratch ? "+1" : "", shape->nics, shape->user_net ? "s" : "",
		shape->shares ? " fs" : "");
	describe_file(out, "vmm", shape->files->vmm);
	describe_file(out, "kernel", shape->files->kernel);
	describe_file(out, "initramfs", shape->files->initramfs);
	fprintf(out, "host=%s,%s ", host.release, host.version);
	describe_cpu(out);
	fprintf(out, " cmdline=%s", shape->cmdline ? shape->cmdline : "");
}

/* The memory stands first, up to a space. */
static char *describe(const struct template_shape *shape, const struct template *sibling)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	fprintf(out, "memory=%u+%u", shape->size.boot_mib, shape->size.room_mib);
	if (sibling)
		fputs(strchr(sibling->shape, ' '), out);
	else
		describe_rest(out, shape);
	if (fclose(out) == EOF) {
		free(text);
		return NULL;
	}
	return text;
}

/* FNV-1a. A name that two shapes share would only cost time: the shape itself is compared too. */
static void name_of(const char *text, char *name)
{
	uint64_t sum = 0xcbf29ce484222325ull;

	for (; *text; text++)
		sum = (sum ^ (unsigned char)*text) * 0x100000001b3ull;
	snprintf(name, TEMPLATE_NAME_LEN + 1, "%016llx", (unsigned long long)sum);
}

/* --- finding one --- */

static bool shape_matches(int dir_fd, const char *shape)
{
	cleanup_fd int fd = file_open_ours(dir_fd, "shape", OTHERS);
	char text[SHAPE_MAX];
	size_t len = strlen(shape);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

	return n == (ssize_t)len && memcmp(text, shape, len) == 0;
}

static int open_template(struct template *template, struct error *err)
{
	cleanup_fd int parent_fd = template_open_dir(err);
	cleanup_fd int dir_fd = -1;
	struct stat st;

	if (parent_fd < 0)
		return parent_fd;
	dir_fd = openat(parent_fd, template->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir_fd < 0)
		return 0;
	if (fstat(dir_fd, &st) < 0 || !file_is_ours(&st, S_IFDIR, OTHERS) ||
	    !shape_matches(dir_fd, template->shape)) {
		template_remove(parent_fd, template->name);
		return 0;
	}
	template->state_fd = file_open_ours(dir_fd, "state", OTHERS);
	template->memory_fd = file_open_ours(dir_fd, TEMPLATE_MEMORY, OTHERS);
	template->pages_fd = file_open_ours(dir_fd, TEMPLATE_PAGES, OTHERS);
	if (template->state_fd < 0 || template->memory_fd < 0) {
		close_fd(&template->state_fd);
		close_fd(&template->memory_fd);
		template_remove(parent_fd, template->name);
		return 0;
	}
	/* When it was last of use. */
	futimens(dir_fd, NULL);
	return 0;
}

int template_find(struct template *template, const struct template_shape *shape,
		  const struct template *sibling, struct error *err)
{
	template->shape = describe(shape, sibling);
	if (!template->shape || strlen(template->shape) > SHAPE_MAX)
		return error_set(err, ENOMEM, "template");
	name_of(template->shape, template->name);
	return open_template(template, err);
}

void template_destroy(struct template *template)
{
	close_fd(&template->state_fd);
	close_fd(&template->memory_fd);
	close_fd(&template->pages_fd);
	free(template->shape);
	template->shape = NULL;
}

void template_remove(int dir_fd, const char *name)
{
	static const char *const files[] = {"state", TEMPLATE_MEMORY, "shape", TEMPLATE_PAGES,
					    "failed"};
	cleanup_fd int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlinkat(fd, files[i], 0);
	unlinkat(dir_fd, name, AT_REMOVEDIR);
}

void template_discard(const struct template *template)
{
	cleanup_fd int dir_fd = template_open_dir(NULL);

	if (dir_fd >= 0)
		template_remove(dir_fd, template->name);
}
