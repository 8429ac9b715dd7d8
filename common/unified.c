#include "common/unified.h"

#include <string.h>

bool unified_is_guests(const char *key)
{
	return (!strncmp(key, "memory.", 7) && strncmp(key, "memory.swap.", 12) != 0) ||
	       !strncmp(key, "pids.", 5);
}
