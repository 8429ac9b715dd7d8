#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/payload/suites.h"
#include "vmm/kvm.h"

static Suite *(*const suites[])(void) = {run_suite,	access_suite, event_suite, blk_suite,
					 machine_suite, wall_suite,   attack_suite};

/* Without KVM there is nothing to test here: the reason is said, and one is counted as skipped. */
static int skip(const char *why)
{
	printf("payload guests: skipped: %s\n", why);
	printf("0 passed, 0 failed, 1 skipped\n");
	return EXIT_SUCCESS;
}

int main(void)
{
	SRunner *runner = srunner_create(NULL);
	struct error err = {0};
	struct kvm kvm;
	int failed, run;

	if (kvm_open(&kvm, &err) < 0) {
		srunner_free(runner);
		return skip(err.message);
	}
	kvm_destroy(&kvm);
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
		srunner_add_suite(runner, suites[i]());
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	run = srunner_ntests_run(runner);
	srunner_free(runner);
	printf("%d passed, %d failed, 0 skipped\n", run - failed, failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
