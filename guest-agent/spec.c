#include "guest-agent/spec.h"

#include <stdlib.h>

static int wrong_type(struct error *err, const char *where, const char *key, const char *wanted)
{
	return error_say(err, EINVAL, "%s.%s: must be %s", where, key, wanted);
}

static const json_t *value_of(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_null(value) ? NULL : value;
}

int spec_string(const json_t *object, const char *where, const char *key, const char **out,
		struct error *err)
{
	const json_t *value = value_of(object, key);

	if (!value)
		return 0;
	if (!json_is_string(value))
		return wrong_type(err, where, key, "a string");
	*out = json_string_value(value);
	return 1;
}

int spec_bool(const json_t *object, const char *where, const char *key, bool *out,
	      struct error *err)
{
	const json_t *value = value_of(object, key);

	if (!value)
		return 0;
	if (!json_is_boolean(value))
		return wrong_type(err, where, key, "true or false");
	*out = json_is_true(value);
	return 1;
}

int spec_int(const json_t *object, const char *where, const char *key, long long min, long long max,
	     long long *out, struct error *err)
{
	const json_t *value = value_of(object, key);
	long long number;

	if (!value)
		return 0;
	if (!json_is_integer(value))
		return wrong_type(err, where, key, "an integer");
	number = json_integer_value(value);
	if (number < min || number > max)
		return error_say(err, EINVAL, "%s.%s: %lld is not in %lld..%lld", where, key,
				 number, min, max);
	*out = number;
	return 1;
}

int spec_object(const json_t *object, const char *where, const char *key, const json_t **out,
		struct error *err)
{
	const json_t *value = value_of(object, key);

	if (!value)
		return 0;
	if (!json_is_object(value))
		return wrong_type(err, where, key, "an object");
	*out = value;
	return 1;
}

int spec_array(const json_t *object, const char *where, const char *key, const json_t **out,
	       struct error *err)
{
	const json_t *value = value_of(object, key);

	if (!value)
		return 0;
	if (!json_is_array(value))
		return wrong_type(err, where, key, "an array");
	*out = value;
	return 1;
}

int spec_strings(const json_t *object, const char *where, const char *key, const char ***out,
		 struct error *err)
{
	const json_t *array = NULL;
	const char **strings;
	size_t count;
	int ret = spec_array(object, where, key, &array, err);

	if (ret <= 0)
		return ret;
	count = json_array_size(array);
	strings = calloc(count + 1, sizeof(*strings));
	if (!strings)
		return error_set(err, ENOMEM, "%s.%s", where, key);
	for (size_t i = 0; i < count; i++) {
		strings[i] = json_string_value(json_array_get(array, i));
		if (!strings[i]) {
			free(strings);
			return error_say(err, EINVAL, "%s.%s[%zu]: must be a string", where, key,
					 i);
		}
	}
	*out = strings;
	return 1;
}

int spec_element(const json_t *array, const char *where, size_t i, const json_t **out,
		 struct error *err)
{
	const json_t *value = json_array_get(array, i);

	if (!json_is_object(value))
		return error_say(err, EINVAL, "%s[%zu]: must be an object", where, i);
	*out = value;
	return 0;
}
