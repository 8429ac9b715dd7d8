#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/suites.h"

#define SUITE(name) name##_suite,

static Suite *(*const suites[])(void) = {UNIT_SUITES};

int main(void)
{
	SRunner *runner = srunner_create(NULL);
	int failed, run;

	/* check's 4 s are for a machine that does nothing else. */
	setenv("CK_DEFAULT_TIMEOUT", "30", 0);
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
		srunner_add_suite(runner, suites[i]());
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	run = srunner_ntests_run(runner);
	srunner_free(runner);
	printf("%d passed, %d failed, 0 skipped\n", run - failed, failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
