/* What passes between guest and devices without the vCPU's thread: notifications and interrupts. */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/payload/payload.h"
#include "tests/payload/suites.h"
#include "vmm/irq_line.h"
#include "vmm/layout.h"

PAYLOAD_IMAGE(event);

struct notified {
	uint64_t values[8];
	unsigned int count;
};

static void notified_write(void *ctx, uint64_t offset, uint64_t value, unsigned int len)
{
	struct notified *notified = ctx;

	ck_assert_uint_lt(notified->count, 8);
	notified->values[notified->count++] = offset << 32 | (uint64_t)len << 16 | value;
}

START_TEST(a_notification_takes_no_exit_to_user_space)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct notified notified = {0};
	struct payload payload;
	struct error err = {0};
	uint64_t count;

	payload_init(&payload, &event_image, PAYLOAD_USER);
	payload.mailbox->arg = EVENT_NOTIFY;
	ck_assert_int_eq(bus_add(&payload.mmio, PAYLOAD_MMIO, PAYLOAD_MMIO_LEN, NULL,
				 notified_write, &notified),
			 0);
	ck_assert_int_eq(kvm_add_ioeventfd(&payload.kvm, PAYLOAD_MMIO, 1, fd, &err), 0);
	payload_run(&payload);
	ck_assert_int_eq(read(fd, &count, sizeof(count)), sizeof(count));
	ck_assert_uint_eq(count, 2);
	/* Another value, another width, another register: those are for the handler. */
	ck_assert_uint_eq(notified.count, 3);
	ck_assert_uint_eq(notified.values[0], 4 << 16 | 2);
	ck_assert_uint_eq(notified.values[1], 2 << 16 | 1);
	ck_assert_uint_eq(notified.values[2], 4ull << 32 | 4 << 16 | 1);
	payload_destroy(&payload);
	close(fd);
}
END_TEST

/* The line of every slot, each waking the halted vCPU. */
START_TEST(an_interrupt_wakes_a_halted_guest)
{
	struct payload payload;

	payload_init(&payload, &event_image, PAYLOAD_KERNEL);
	payload.mailbox->arg = EVENT_INTERRUPTS;
	payload_start(&payload);
	for (unsigned int i = 0; i < LAYOUT_VIRTIO_SLOTS; i++) {
		struct irq_line line;

		irq_line_init(&line, &payload.kvm, LAYOUT_IRQ_FIRST + i);
		payload_wait_arrived(&payload);
		irq_line_ring(&line);
	}
	ck_assert_int_eq(payload_wait_end(&payload), MACHINE_POWER_OFF);
	ck_assert_uint_eq(payload.mailbox->failed_line, 0);
	ck_assert_uint_eq(payload.mailbox->irqs, LAYOUT_VIRTIO_SLOTS);
	payload_destroy(&payload);
}
END_TEST

START_TEST(an_interrupt_reaches_a_busy_guest)
{
	struct payload payload;
	struct irq_line line;

	payload_init(&payload, &event_image, PAYLOAD_INTERRUPTIBLE);
	payload.mailbox->arg = EVENT_INTERRUPTS_BUSY;
	irq_line_init(&line, &payload.kvm, LAYOUT_IRQ_FIRST);
	payload_start(&payload);
	payload_wait_arrived(&payload);
	irq_line_ring(&line);
	ck_assert_int_eq(payload_wait_end(&payload), MACHINE_POWER_OFF);
	ck_assert_uint_eq(payload.mailbox->irqs, 1);
	payload_destroy(&payload);
}
END_TEST

/* For a device that another process serves. */
START_TEST(an_irqfd_interrupts_a_busy_guest)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct payload payload;
	struct error err = {0};
	uint64_t one = 1;

	ck_assert_int_ge(fd, 0);
	payload_init(&payload, &event_image, PAYLOAD_INTERRUPTIBLE);
	payload.mailbox->arg = EVENT_INTERRUPTS_BUSY;
	ck_assert_msg(kvm_add_irqfd(&payload.kvm, LAYOUT_IRQ_FIRST, fd, &err) == 0, "%s",
		      err.message);
	payload_start(&payload);
	payload_wait_arrived(&payload);
	ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
	ck_assert_int_eq(payload_wait_end(&payload), MACHINE_POWER_OFF);
	ck_assert_uint_eq(payload.mailbox->irqs, 1);
	payload_destroy(&payload);
	close(fd);
}
END_TEST

Suite *event_suite(void)
{
	Suite *suite = suite_create("events");
	TCase *tcase = tcase_create("events");

	tcase_set_timeout(tcase, PAYLOAD_TIMEOUT_S);
	tcase_add_test(tcase, a_notification_takes_no_exit_to_user_space);
	tcase_add_test(tcase, an_interrupt_wakes_a_halted_guest);
	tcase_add_test(tcase, an_interrupt_reaches_a_busy_guest);
	tcase_add_test(tcase, an_irqfd_interrupts_a_busy_guest);
	suite_add_tcase(suite, tcase);
	return suite;
}
