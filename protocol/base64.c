#include "protocol/base64.h"

#include <errno.h>
#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *bytes, size_t len, char *out)
{
	const uint8_t *in = bytes;

	for (size_t i = 0; i < len; i += 3) {
		uint32_t group = (uint32_t)in[i] << 16;

		if (i + 1 < len)
			group |= (uint32_t)in[i + 1] << 8;
		if (i + 2 < len)
			group |= in[i + 2];
		*out++ = alphabet[group >> 18];
		*out++ = alphabet[group >> 12 & 63];
		*out++ = i + 1 < len ? alphabet[group >> 6 & 63] : '=';
		*out++ = i + 2 < len ? alphabet[group & 63] : '=';
	}
	*out = '\0';
}

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

ssize_t base64_decode(const char *text, size_t len, void *out)
{
	uint8_t *to = out;
	ssize_t used = 0;

	if (len % 4)
		return -EINVAL;
	for (size_t i = 0; i < len; i += 4) {
		unsigned int padding = 0;
		uint32_t group = 0;

		if (i + 4 == len && text[i + 3] == '=')
			padding = text[i + 2] == '=' ? 2 : 1;
		for (unsigned int k = 0; k < 4; k++) {
			int value = k < 4 - padding ? value_of(text[i + k]) : 0;

			if (value < 0)
				return -EINVAL;
			group = group << 6 | (uint32_t)value;
		}
		/* Bits that stand for no byte are zero, or two texts would mean the same. */
		if (padding && (group & (padding == 1 ? 0xffu : 0xffffu)))
			return -EINVAL;
		to[used++] = (uint8_t)(group >> 16);
		if (padding < 2)
			to[used++] = (uint8_t)(group >> 8);
		if (padding < 1)
			to[used++] = (uint8_t)group;
	}
	return used;
}
