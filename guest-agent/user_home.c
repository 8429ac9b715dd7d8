#include "guest-agent/user_home.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest-agent/accounts.h"

int user_home_add(const char ***env, uid_t uid, struct error *err)
{
	char *entry, *home;
	const char **grown;
	size_t count = 0;

	for (; (*env)[count]; count++)
		if (!strncmp((*env)[count], "HOME=", 5) && (*env)[count][5])
			return 0;
	home = account_home(uid);
	grown = realloc(*env, (count + 2) * sizeof(*grown));
	if (grown)
		*env = grown;
	if (!grown || asprintf(&entry, "HOME=%s", home ? home : "/") < 0)
		return error_set(err, ENOMEM, "set HOME");
	free(home);
	grown[count] = entry;
	grown[count + 1] = NULL;
	return 0;
}
