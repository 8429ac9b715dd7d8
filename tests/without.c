/*
 * without SYSCALL[=ERRNO] ... -- COMMAND [ARGUMENT...]: runs COMMAND where these system calls fail
 * (with EPERM if not told otherwise), as on a host that forbids them or has a fault.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int forbid(scmp_filter_ctx ctx, char *text)
{
	char *name = strsep(&text, "=");
	int number = seccomp_syscall_resolve_name(name);
	int code = text ? atoi(text) : EPERM;

	if (number == __NR_SCMP_ERROR || code <= 0) {
		fprintf(stderr, "without: no such system call or error: %s\n", name);
		return -EINVAL;
	}
	return seccomp_rule_add(ctx, SCMP_ACT_ERRNO((unsigned int)code), number, 0);
}

int main(int argc, char **argv)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int i = 1;

	for (; ctx && i < argc && strcmp(argv[i], "--") != 0; i++)
		if (forbid(ctx, argv[i]) < 0)
			return 125;
	if (!ctx || i + 1 >= argc || seccomp_load(ctx) < 0) {
		fprintf(stderr, "usage: without SYSCALL[=ERRNO] ... -- COMMAND [ARGUMENT...]\n");
		return 125;
	}
	execvp(argv[i + 1], argv + i + 1);
	perror(argv[i + 1]);
	return 127;
}
