#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/driver.h"
#include "tests/unit/suites.h"

#define SUITE(name) name##_suite,

typedef Suite *suite_fn(void);

static suite_fn *const suites[] = {UNIT_SUITES DEVICE_SUITES};
static suite_fn *const device_suites[] = {DEVICE_SUITES};

/* Returns how many failed. */
static int run(suite_fn *const *list, size_t count, int *total)
{
	SRunner *runner = srunner_create(NULL);
	int failed;

	for (size_t i = 0; i < count; i++)
		srunner_add_suite(runner, list[i]());
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	*total += srunner_ntests_run(runner);
	srunner_free(runner);
	return failed;
}

int main(void)
{
	int failed, total = 0;

	/* check's 4 s are for a machine that does nothing else. */
	setenv("CK_DEFAULT_TIMEOUT", "30", 0);
	failed = run(suites, sizeof(suites) / sizeof(suites[0]), &total);
	puts("devices again, with packed rings");
	driver_more_features = 1ull << VIRTIO_F_RING_PACKED;
	failed += run(device_suites, sizeof(device_suites) / sizeof(device_suites[0]), &total);
	printf("%d passed, %d failed, 0 skipped\n", total - failed, failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
