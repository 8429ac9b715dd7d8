/*
 * Linked into a VMM with --wrap: a KVM that cannot boot Linux. As seen on a real one, it gives up
 * on the first instruction that it does not emulate.
 */
#include <linux/kvm.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/types.h>

#define FDS_MAX 1024

int __real_ioctl(int fd, unsigned long request, ...);
void *__real_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset);
int __wrap_ioctl(int fd, unsigned long request, ...);
void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset);

static struct kvm_run *runs[FDS_MAX];

void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	void *memory = __real_mmap64(at, len, prot, flags, fd, offset);

	if (fd >= 0 && fd < FDS_MAX)
		runs[fd] = memory;
	return memory;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (request != KVM_RUN)
		return __real_ioctl(fd, request, argument);
	runs[fd]->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	runs[fd]->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	return 0;
}
