/*
 * Typed reading of the OCI documents. Each reader takes the object, where it stands in the document
 * (for messages) and a key. It returns 1 when the key is there with the right type, 0 when it is
 * absent (or null), leaving *out as it was, and -EINVAL with a message that names the field.
 */
#ifndef GUEST_AGENT_SPEC_H
#define GUEST_AGENT_SPEC_H

#include <jansson.h>
#include <stdbool.h>

#include "common/error.h"

/* Values are borrowed from the document. An object of NULL has no keys. */
int spec_string(const json_t *object, const char *where, const char *key, const char **out,
		struct error *err);
int spec_bool(const json_t *object, const char *where, const char *key, bool *out,
	      struct error *err);
int spec_int(const json_t *object, const char *where, const char *key, long long min, long long max,
	     long long *out, struct error *err);
int spec_object(const json_t *object, const char *where, const char *key, const json_t **out,
		struct error *err);
int spec_array(const json_t *object, const char *where, const char *key, const json_t **out,
	       struct error *err);

/*
 * An array of strings as a NULL-terminated vector: the vector is malloc'ed and the caller's, its
 * strings are borrowed.
 */
int spec_strings(const json_t *object, const char *where, const char *key, const char ***out,
		 struct error *err);

/* Element i of an array of objects. Returns 0 or -EINVAL. */
int spec_element(const json_t *array, const char *where, size_t i, const json_t **out,
		 struct error *err);

#endif
