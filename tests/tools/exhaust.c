/*
 * exhaust WHAT [COUNT]: a workload that takes all it can get, and tells what stopped it.
 *
 *	orphans COUNT   that many processes end whose parent has ended before
 *	forks           processes, until there is no other; they stay
 *	files           open files, by as many processes as it takes; they stay
 *	memory          until it is killed
 *	vsock COUNT     connections to every port of the host's
 *	trace           the first process of the VM
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* after sys/socket.h, which it needs */
#include <linux/vm_sockets.h>

static void stay(const char *what, unsigned long count)
{
	printf("%s: %lu, then %s\n", what, count, strerror(errno));
	fflush(stdout);
	for (;;)
		pause();
}

static int orphans(unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			fork();
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, NULL, 0) < 0)
			return 1;
	}
	printf("orphans: %lu\n", count);
	return 0;
}

static void forks(void)
{
	unsigned long count = 0;
	pid_t pid;

	while ((pid = fork()) > 0)
		count++;
	if (pid == 0)
		for (;;)
			pause();
	stay("forks", count);
}

/* Each process has a limit of its own; the VM's is met by all together. */
static void files(void)
{
	unsigned long count = 0;

	for (;;) {
		while (open("/dev/null", O_RDONLY) >= 0)
			count++;
		if (errno != EMFILE)
			stay("files", count);
		if (fork() > 0)
			for (;;)
				pause();
		for (int fd = 3; fd < 4096; fd++)
			close(fd);
	}
}

static void memory(void)
{
	const size_t step = 1 << 20;

	for (;;) {
		char *at = mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				0);

		if (at == MAP_FAILED)
			stay("memory", 0);
		memset(at, 1, step);
	}
}

static int vsock(unsigned long count)
{
	unsigned long connected = 0;

	for (unsigned long i = 0; i < count; i++) {
		struct sockaddr_vm address = {
			.svm_family = AF_VSOCK,
			.svm_cid = VMADDR_CID_HOST,
			.svm_port = 1024 + (unsigned int)(i % 2048),
		};
		int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

		if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
			printf("connected to port %u\n", address.svm_port);
			connected++;
		}
		close(fd);
	}
	printf("vsock: %lu\n", connected);
	return 0;
}

static int trace(void)
{
	char byte;
	struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
	int done = ptrace(PTRACE_SEIZE, 1, NULL, NULL) == 0;

	done += process_vm_readv(1, &here, 1, &there, 1, 0) == 1;
	done += process_vm_writev(1, &here, 1, &there, 1, 0) == 1;
	done += open("/proc/1/mem", O_RDWR) >= 0;
	done += open("/proc/1/ns/mnt", O_RDONLY) >= 0;
	for (int sig = 1; sig < NSIG; sig++)
		kill(1, sig);
	printf("trace: %d\n", done);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	unsigned long count = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;

	if (!strcmp(what, "orphans"))
		return orphans(count);
	if (!strcmp(what, "vsock"))
		return vsock(count);
	if (!strcmp(what, "trace"))
		return trace();
	if (!strcmp(what, "forks"))
		forks();
	if (!strcmp(what, "files"))
		files();
	if (!strcmp(what, "memory"))
		memory();
	return 2;
}
