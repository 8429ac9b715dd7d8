#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "guest-agent/network_internal.h"
#include "guest-agent/spec.h"

static int parse_address(const char *text, struct address *out)
{
	const char *slash = strchr(text, '/');
	char host[INET6_ADDRSTRLEN];
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	int prefix = -1;
	char rest;

	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	out->family = strchr(host, ':') ? AF_INET6 : AF_INET;
	out->len = out->family == AF_INET6 ? 16 : 4;
	if (inet_pton(out->family, host, out->bytes) != 1)
		return -EINVAL;
	if (slash && (sscanf(slash + 1, "%3d%c", &prefix, &rest) != 1 || prefix < 0 ||
		      prefix > out->len * 8))
		return -EINVAL;
	out->prefix = (uint8_t)(slash ? prefix : out->len * 8);
	return 0;
}

/* As the readers of spec.h. */
int network_get_address(const json_t *object, const char *where, const char *key,
			struct address *out, struct error *err)
{
	const char *text;
	int ret = spec_string(object, where, key, &text, err);

	if (ret > 0 && parse_address(text, out) < 0)
		return error_say(err, EINVAL, "%s.%s: \"%.64s\" is not an address", where, key,
				 text);
	return ret;
}

int network_get_mac(const json_t *object, const char *where, uint8_t mac[6], struct error *err)
{
	const char *text;
	char rest;
	int ret = spec_string(object, where, "mac", &text, err);

	if (ret <= 0)
		return ret;
	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2],
		   &mac[3], &mac[4], &mac[5], &rest) != 6)
		return error_say(err, EINVAL, "%s.mac: \"%.64s\" is not an address", where, text);
	return 1;
}

/* An absent number is what it was. */
int network_get_number(const json_t *object, const char *where, const char *key, uint32_t *out,
		       struct error *err)
{
	long long value = *out;
	int ret = spec_int(object, where, key, 0, UINT32_MAX, &value, err);

	*out = (uint32_t)value;
	return ret;
}

int network_get_device(const json_t *object, const char *where, int *index, struct error *err)
{
	const char *name = NULL;
	int ret = spec_string(object, where, "dev", &name, err);

	if (ret < 0)
		return ret;
	*index = name ? (int)if_nametoindex(name) : 0;
	return *index ? 0
		      : error_say(err, ENODEV, "%s.dev: there is no interface \"%.16s\"", where,
				  name ? name : "");
}
