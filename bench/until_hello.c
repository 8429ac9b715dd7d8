/*
 * until_hello COMMAND [ARGUMENT...]: starts COMMAND, a VMM with vhost-vsock, prints the
 * milliseconds from there to the first byte of the guest agent's HELLO, and ends COMMAND. So a VMM
 * of somebody else is measured to the same point as ours, with the same kernel and agent.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "protocol/protocol.h"

#define LIMIT_MS 60000

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int fail(const char *what)
{
	fprintf(stderr, "until_hello: %s: %s\n", what, strerror(errno));
	return -1;
}

static int listen_for_agent(void)
{
	struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = PROTO_PORT_CONTROL};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return fail("AF_VSOCK socket (modprobe vhost_vsock?)");
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 1) < 0) {
		fail("listen on the control port");
		close(fd);
		return -1;
	}
	return fd;
}

static int wait_for_hello(int listener)
{
	struct pollfd poll_fd = {.fd = listener, .events = POLLIN};
	char byte;
	int fd;

	if (poll(&poll_fd, 1, LIMIT_MS) != 1) {
		errno = ETIMEDOUT;
		return fail("waiting for the agent");
	}
	fd = accept(listener, NULL, NULL);
	if (fd < 0 || read(fd, &byte, 1) != 1)
		return fail("reading HELLO");
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	double start;
	int listener, ret;
	pid_t pid;

	if (argc < 2) {
		fprintf(stderr, "usage: until_hello COMMAND [ARGUMENT...]\n");
		return EXIT_FAILURE;
	}
	listener = listen_for_agent();
	if (listener < 0)
		return EXIT_FAILURE;
	start = now_ms();
	pid = fork();
	if (pid == 0) {
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	ret = wait_for_hello(listener);
	if (ret == 0)
		printf("%.3f\n", now_ms() - start);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(listener);
	return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
