/* Bytes in JSON: base64 (RFC 4648, section 4), with padding and without line breaks. */
#ifndef PROTOCOL_BASE64_H
#define PROTOCOL_BASE64_H

#include <stddef.h>
#include <sys/types.h>

/* Characters that len bytes take, without a terminator. */
static inline size_t base64_length(size_t len)
{
	return (len + 2) / 3 * 4;
}

/* Writes base64_length(len) characters and a terminator to out. */
void base64_encode(const void *bytes, size_t len, char *out);

/*
 * Decodes len characters of text to out, which takes len / 4 * 3 bytes at most. Returns how many
 * there are, or -EINVAL for anything but canonical base64.
 */
ssize_t base64_decode(const char *text, size_t len, void *out);

#endif
