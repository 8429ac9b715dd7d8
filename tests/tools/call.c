/* call NUMBER...: makes each of these system calls, all arguments -1, and says which error it was.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		errno = 0;
		syscall(atol(argv[i]), -1L, -1L, -1L, -1L, -1L, -1L);
		printf("%s: %d\n", argv[i], errno);
	}
	return 0;
}
