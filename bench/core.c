/* core ROUNDS [AREA...]: see core.h. */
#include "bench/core.h"

#include <check.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

static const struct core_area *const areas[] = {&core_exits, &core_queue,   &core_path, &core_blk,
						&core_disk,  &core_threads, &core_vsock};

#define AREAS (sizeof(areas) / sizeof(areas[0]))

void core_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "core: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(EXIT_FAILURE);
}

void core_sample(const char *name, const char *unit, double value)
{
	printf("%s\t%s\t%.3f\n", name, unit, value);
}

/*
 * What payload.c asserts, it asserts by libcheck, which is not linked here: outside of a test these
 * two are all that is asked of it.
 */
void _mark_point(const char *file, int line)
{
	(void)file;
	(void)line;
}

void _ck_assert_failed(const char *file, int line, const char *condition, const char *message, ...)
{
	(void)message;
	core_fail("%s:%d: %s", file, line, condition);
}

uint64_t core_now(void)
{
	return monotonic_ns();
}

uint64_t core_cpu_time(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static bool wanted(const struct core_area *area, int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
		if (!strcmp(argv[i], area->name))
			return true;
	return argc <= 2;
}

/* Opened, not only looked at: a node without a driver is none. */
static bool has_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool possible(const struct core_area *area)
{
	if (!area->needs_kvm || has_kvm())
		return true;
	fprintf(stderr, "core: no rows of %s: its guest needs /dev/kvm, which cannot be opened\n",
		area->name);
	return false;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 0;
	const struct core_area *chosen[AREAS];
	unsigned int count = 0;

	if (rounds < 1)
		core_fail("usage: core ROUNDS [exits|queue|path|blk|disk|threads|vsock]...");
	for (size_t i = 0; i < AREAS; i++)
		if (wanted(areas[i], argc, argv) && possible(areas[i]))
			chosen[count++] = areas[i];
	for (unsigned int i = 0; i < count; i++)
		if (chosen[i]->prepare)
			chosen[i]->prepare();
	for (int round = 0; round < rounds; round++)
		for (unsigned int i = 0; i < count; i++)
			chosen[i]->round();
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
