/* set-attributes PATH NAME=VALUE...: setfattr(1), which is in no package that we need otherwise. */
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

int main(int argc, char **argv)
{
	for (int i = 2; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value)
			return 2;
		*value++ = '\0';
		if (lsetxattr(argv[1], argv[i], value, strlen(value), 0) < 0) {
			perror(argv[1]);
			return 1;
		}
	}
	return argc < 3;
}
