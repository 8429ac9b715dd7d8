/*
 * Images without an engine: an OCI layout in STORE/images, filled by skopeo. Blobs are found by
 * their digest, and what is read is compared with it.
 */
#ifndef RUNTIME_IMAGE_STORE_H
#define RUNTIME_IMAGE_STORE_H

#include "common/error.h"
#include "runtime/images.h"
#include "runtime/oci_image.h"

/* skopeo copy SOURCE: any transport, without one docker://. Returns 0 or -errno. */
int image_pull(const char *source, const char *name, struct error *err);

/* The name that an image has when none is given; malloc'ed. */
char *image_default_name(const char *source);

/* Finds an image and reads its manifest. Returns 0, -ENOENT with the reason, or -errno. */
int image_find(const char *name, struct oci_manifest *out, struct error *err);

/* Its configuration; NULL on failure. */
json_t *image_config(const struct oci_manifest *manifest, struct error *err);

/* Removes a name, and the blobs that no other image has. */
int image_remove(const char *name, struct error *err);

/* The layout, for skopeo, umoci and people: malloc'ed. */
char *image_layout(void);

/* index.json as it is: {"manifests": [...]}; NULL when there is none or on failure. */
json_t *image_index(struct error *err);

/*
 * Adds the layers of an image, the top one first: from the cache, or made from the blobs.
 */
int image_add_layers(struct images *images, const char *name, struct error *err);

#endif
