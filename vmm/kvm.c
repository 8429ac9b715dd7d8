#include "vmm/kvm.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/kvm.h"
#include "common/log.h"
#include "common/pass_fd.h"

static int check_extensions(const struct kvm *kvm, struct error *err)
{
	static const struct {
		int cap;
		const char *name;
	} needed[] = {
		{KVM_CAP_USER_MEMORY, "user memory"},
		{KVM_CAP_IRQCHIP, "interrupt controllers"},
		{KVM_CAP_IRQFD, "irqfd"},
		{KVM_CAP_IOEVENTFD, "ioeventfd"},
		{KVM_CAP_IMMEDIATE_EXIT, "immediate exit"},
	};

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (ioctl(kvm->fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return error_say(err, ENOSYS,
					 "KVM on this host lacks \"%s\": a newer kernel is needed",
					 needed[i].name);
	return 0;
}

int kvm_open(struct kvm *kvm, struct error *err)
{
	int version, size, ret;

	kvm->vm_fd = -1;
	kvm->fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm->fd < 0) {
		int code = errno;

		if (code == ENOENT || code == ENODEV || code == ENXIO)
			return error_say(err, code,
					 "/dev/kvm is not there: load kvm_intel or kvm_amd, and "
					 "check that virtualization is enabled on this host");
		if (code == EACCES)
			return error_say(err, code, KVM_NO_PERMISSION);
		/* That is what a container's device rules say. */
		if (code == EPERM)
			return error_say(err, code,
					 "/dev/kvm is forbidden here: allow this container or "
					 "service to use the device");
		return error_set(err, code, "open /dev/kvm");
	}
	version = ioctl(kvm->fd, KVM_GET_API_VERSION, 0);
	size = ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (version != KVM_API_VERSION || size <= 0) {
		ret = error_say(err, ENOSYS, "/dev/kvm speaks version %d, needed is %d", version,
				KVM_API_VERSION);
	} else {
		kvm->run_size = (size_t)size;
		ret = check_extensions(kvm, err);
	}
	if (ret < 0)
		kvm_destroy(kvm);
	return ret;
}

int kvm_create_vm(struct kvm *kvm, struct error *err)
{
	do {
		/* A signal can interrupt the wait for an RCU grace period in there. */
		kvm->vm_fd = ioctl(kvm->fd, KVM_CREATE_VM, 0);
	} while (kvm->vm_fd < 0 && errno == EINTR);
	if (kvm->vm_fd < 0)
		return error_set(err, errno, "KVM: create VM");
	/* Three pages that Intel hosts without unrestricted guest use; outside of all memory. */
	if (ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, 0xfffbd000) < 0)
		return error_set(err, errno, "KVM: set TSS address");
	if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return error_set(err, errno, "KVM: create interrupt controllers");
	return 0;
}

void kvm_hold(const struct kvm *kvm, int socket_fd)
{
	int ret = pass_fd(socket_fd, kvm->vm_fd, "", 1, MSG_DONTWAIT);

	if (ret < 0)
		log_debug("the VM is not held: %s", strerror(-ret));
}

void kvm_destroy(struct kvm *kvm)
{
	close_fd(&kvm->vm_fd);
	close_fd(&kvm->fd);
}

int kvm_add_memory(struct kvm *kvm, unsigned int slot, uint64_t gpa, uint64_t len, void *bytes,
		   struct error *err)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uintptr_t)bytes,
	};

	if (ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return error_set(err, errno, "KVM: add memory at 0x%llx", (unsigned long long)gpa);
	return 0;
}

int kvm_add_ioeventfd(struct kvm *kvm, uint64_t gpa, uint32_t value, int fd, struct error *err)
{
	struct kvm_ioeventfd event = {
		.datamatch = value,
		.addr = gpa,
		.len = 4,
		.fd = fd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	if (ioctl(kvm->vm_fd, KVM_IOEVENTFD, &event) < 0)
		return error_set(err, errno, "KVM: ioeventfd at 0x%llx", (unsigned long long)gpa);
	return 0;
}

int kvm_add_irqfd(struct kvm *kvm, unsigned int gsi, int fd, struct error *err)
{
	struct kvm_irqfd irqfd = {.fd = (uint32_t)fd, .gsi = gsi};

	if (ioctl(kvm->vm_fd, KVM_IRQFD, &irqfd) < 0)
		return error_set(err, errno, "KVM: irqfd for interrupt %u", gsi);
	return 0;
}
