/* What runtime and VMM both say about /dev/kvm. */
#ifndef COMMON_KVM_H
#define COMMON_KVM_H

#define KVM_NO_PERMISSION \
	"no permission to use /dev/kvm: run as root or join the group that owns it"

#endif
