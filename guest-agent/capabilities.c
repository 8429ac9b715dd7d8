#include "guest-agent/capabilities.h"

#include <cap-ng.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "common/cleanup.h"
#include "guest-agent/spec.h"

static int set_parse(const json_t *object, const char *key, uint64_t *out, struct error *err)
{
	cleanup_free const char **names = NULL;
	int ret = spec_strings(object, "process.capabilities", key, &names, err);

	for (const char **name = names; ret > 0 && *name; name++) {
		int cap = -1;

		if (!strncmp(*name, "CAP_", 4))
			cap = capng_name_to_capability(*name + 4);
		if (cap >= 0 && cap < 64)
			*out |= UINT64_C(1) << cap;
	}
	return ret < 0 ? ret : 0;
}

int capabilities_parse(const json_t *process, struct capability_sets *out, struct error *err)
{
	const json_t *object = NULL;
	int ret;

	memset(out, 0, sizeof(*out));
	if ((ret = spec_object(process, "process", "capabilities", &object, err)) <= 0 ||
	    (ret = set_parse(object, "bounding", &out->bounding, err)) < 0 ||
	    (ret = set_parse(object, "effective", &out->effective, err)) < 0 ||
	    (ret = set_parse(object, "inheritable", &out->inheritable, err)) < 0 ||
	    (ret = set_parse(object, "permitted", &out->permitted, err)) < 0 ||
	    (ret = set_parse(object, "ambient", &out->ambient, err)) < 0)
		return ret;
	return 0;
}

static void fill(capng_type_t type, uint64_t set)
{
	for (unsigned int cap = 0; cap < 64 && cap <= CAP_LAST_CAP; cap++)
		if (set >> cap & 1)
			capng_update(CAPNG_ADD, type, cap);
}

static void fill_all(const struct capability_sets *sets)
{
	capng_clear(CAPNG_SELECT_ALL);
	fill(CAPNG_BOUNDING_SET, sets->bounding);
	fill(CAPNG_EFFECTIVE, sets->effective);
	fill(CAPNG_PERMITTED, sets->permitted);
	fill(CAPNG_INHERITABLE, sets->inheritable);
}

int capabilities_bound(const struct capability_sets *sets, struct error *err)
{
	fill_all(sets);
	if (capng_apply(CAPNG_SELECT_BOUNDS) < 0)
		return error_set(err, EPERM, "unable to apply bounding set");
	return 0;
}

/*
 * One by one: one that is not inheritable too is refused, as runc only warns of, and must not keep
 * the others out.
 */
static void raise_ambient(uint64_t set)
{
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned long cap = 0; cap < 64 && cap <= CAP_LAST_CAP; cap++)
		if (set >> cap & 1)
			prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
}

int capabilities_apply(const struct capability_sets *sets, struct error *err)
{
	fill_all(sets);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return error_set(err, EPERM, "unable to apply caps");
	raise_ambient(sets->ambient);
	return 0;
}
