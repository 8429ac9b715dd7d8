/*
 * timed COMMAND...: runs it and prints how long it took, in ms, until its first byte on stdout and
 * until its end. The byte is a container's first sign of life, whatever runs it.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

static double ms_since(uint64_t start)
{
	return (double)(monotonic_ns() - start) / 1e6;
}

int main(int argc, char **argv)
{
	double first = -1, end;
	uint64_t start;
	int ends[2], status;
	char bytes[4096];
	ssize_t n;
	pid_t pid;

	if (argc < 2 || pipe(ends) < 0)
		return 125;
	start = monotonic_ns();
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		execvp(argv[1], argv + 1);
		fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
		_exit(127);
	}
	close(ends[1]);
	while ((n = read(ends[0], bytes, sizeof(bytes))) > 0)
		if (first < 0)
			first = ms_since(start);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return 125;
	end = ms_since(start);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || first < 0)
		return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 125;
	printf("%.3f %.3f\n", first, end);
	return 0;
}
