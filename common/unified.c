#include "common/unified.h"

#include <string.h>

bool unified_is_guests(const char *key)
{
	return (!strncmp(key, "memory.", 7) && strncmp(key, "memory.swap.", 12) != 0) ||
	       !strncmp(key, "pids.", 5);
}

long long unified_cpu_weight(long long shares)
{
	if (shares < 2)
		shares = 2;
	if (shares > 262144)
		shares = 262144;
	return 1 + (shares - 2) * 9999 / 262142;
}
