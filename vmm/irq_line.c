#include "vmm/irq_line.h"

#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/log.h"

void irq_line_init(struct irq_line *line, const struct kvm *kvm, unsigned int gsi)
{
	*line = (struct irq_line){
		.vm_fd = kvm->vm_fd,
		.gsi = gsi,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
}

static void set_level(const struct irq_line *line, uint32_t value)
{
	struct kvm_irq_level level = {.irq = line->gsi, .level = value};

	if (ioctl(line->vm_fd, KVM_IRQ_LINE, &level) < 0)
		log_error("KVM: interrupt %u: %s", line->gsi, strerror(errno));
}

void irq_line_ring(struct irq_line *line)
{
	pthread_mutex_lock(&line->lock);
	set_level(line, 1);
	set_level(line, 0);
	pthread_mutex_unlock(&line->lock);
}
