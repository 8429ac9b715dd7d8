/* A config.json: is checked, its seccomp profile compiled. It may be refused, with a reason. */
#include <string.h>

#include "runtime/seccomp_filter.h"
#include "runtime/spec_check.h"
#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = {0};
	json_t *config = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	json_t *program = NULL;
	int ret;

	if (!config)
		return 0;
	ret = spec_check(config, &err);
	driver_check(ret <= 0);
	driver_check((ret < 0) == (err.message[0] != '\0'));
	driver_check(!strchr(err.message, '\n'));
	if (ret == 0 && seccomp_filter_compile(config, &program, &err) == 0)
		json_decref(program);
	json_decref(config);
	return 0;
}
