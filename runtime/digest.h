/* SHA-256, as text: what images and the cache call things by. */
#ifndef RUNTIME_DIGEST_H
#define RUNTIME_DIGEST_H

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <stddef.h>
#include <sys/types.h>

#define DIGEST_HEX 64 /* digits */

struct digest {
	SHA256_CTX context;
};

void digest_begin(struct digest *digest);
void digest_add(struct digest *digest, const void *bytes, size_t len);
void digest_end(struct digest *digest, char hex[DIGEST_HEX + 1]);

/* Of a file's whole content; *len (may be NULL) becomes its length. Returns 0 or -errno. */
int digest_file(int fd, char hex[DIGEST_HEX + 1], off_t *len);

#endif
