#include "runtime/digest.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#define CHUNK (1u << 20)

void digest_begin(struct digest *digest)
{
	SHA256_Init(&digest->context);
}

void digest_add(struct digest *digest, const void *bytes, size_t len)
{
	SHA256_Update(&digest->context, bytes, len);
}

void digest_end(struct digest *digest, char hex[DIGEST_HEX + 1])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t sum[SHA256_DIGEST_LENGTH];

	SHA256_Final(sum, &digest->context);
	for (size_t i = 0; i < sizeof(sum); i++) {
		hex[2 * i] = digits[sum[i] >> 4];
		hex[2 * i + 1] = digits[sum[i] & 15];
	}
	hex[DIGEST_HEX] = '\0';
}

int digest_file(int fd, char hex[DIGEST_HEX + 1], off_t *len)
{
	cleanup_free char *bytes = malloc(CHUNK);
	struct digest digest;
	off_t at = 0;
	ssize_t n;

	if (!bytes)
		return -ENOMEM;
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	digest_begin(&digest);
	while ((n = pread(fd, bytes, CHUNK, at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		digest_add(&digest, bytes, (size_t)n);
		at += n;
	}
	digest_end(&digest, hex);
	if (len)
		*len = at;
	return 0;
}
