/* A driver of the disk in slot 0: an honest one, and one for each way to be dishonest. */
#include "tests/payload/guest/virtio.h"

#include <linux/virtio_blk.h>

#define SECTOR	  512
#define MANY	  300
#define request	  ((struct virtio_blk_outhdr *)DRIVER_BUFFERS)
#define status_at (DRIVER_BUFFERS + 0x100)
#define id_at	  (DRIVER_BUFFERS + 0x200)
#define write_at  (DRIVER_BUFFERS + 0x1000)
#define table	  ((struct vring_desc *)(DRIVER_BUFFERS + 0x8000))

static struct driver driver;

static void put(struct vring_desc *desc, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	desc->addr = addr;
	desc->len = len;
	desc->flags = flags;
	desc->next = next;
}

/* The first descriptor. */
static void put_request(struct vring_desc *desc, uint32_t type, uint64_t sector)
{
	request->type = type;
	request->sector = sector;
	*(volatile uint8_t *)status_at = 0xee;
	put(desc, (uint64_t)request, sizeof(*request), VRING_DESC_F_NEXT, 1);
}

static void put_status(struct vring_desc *desc)
{
	put(desc, status_at, 1, VRING_DESC_F_WRITE, 0);
}

/* Runs the chain that begins with descriptor 0. Returns the status; len is checked. */
static uint8_t run(uint32_t len)
{
	volatile struct vring_used_elem *elem;

	driver_offer(0);
	guest_check(driver_complete(&driver));
	elem = &driver_used->ring[(uint16_t)(driver.used - 1) % DRIVER_SIZE];
	guest_check(elem->id == 0);
	guest_check(elem->len == len);
	return *(volatile uint8_t *)status_at;
}

static void identify(void)
{
	guest_check(driver_read(VIRTIO_MMIO_MAGIC_VALUE) == 0x74726976);
	guest_check(driver_read(VIRTIO_MMIO_VERSION) == 2);
	guest_check(driver_read(VIRTIO_MMIO_DEVICE_ID) == 2);
	guest_check(read64(LAYOUT_VIRTIO + VIRTIO_MMIO_CONFIG) == PAYLOAD_DISK_SECTORS);
	guest_check(read32(LAYOUT_VIRTIO + VIRTIO_MMIO_CONFIG + 20) == SECTOR);
	guest_check(read8(LAYOUT_VIRTIO + VIRTIO_MMIO_CONFIG) == PAYLOAD_DISK_SECTORS);
}

/* By an indirect table, whose parts are not what a kernel would choose. */
static void write_some(void)
{
	volatile uint8_t *bytes = (volatile uint8_t *)write_at;

	for (uint64_t i = 0; i < PAYLOAD_WRITE_LEN; i++)
		bytes[i] = payload_written_byte(i);
	put_request(&table[0], VIRTIO_BLK_T_OUT, PAYLOAD_WRITE_SECTOR);
	put(&table[1], write_at, 1, VRING_DESC_F_NEXT, 2);
	put(&table[2], write_at + 1, PAYLOAD_WRITE_LEN - 1, VRING_DESC_F_NEXT, 3);
	put_status(&table[3]);
	put(&driver_desc[0], (uint64_t)table, 4 * sizeof(*table), VRING_DESC_F_INDIRECT, 0);
	guest_check(run(1) == VIRTIO_BLK_S_OK);
	put_request(&driver_desc[0], VIRTIO_BLK_T_FLUSH, 0);
	put_status(&driver_desc[1]);
	guest_check(run(1) == VIRTIO_BLK_S_OK);
}

static void read_some(void)
{
	uint16_t flags = VRING_DESC_F_NEXT | VRING_DESC_F_WRITE;

	put_request(&driver_desc[0], VIRTIO_BLK_T_IN, PAYLOAD_READ_SECTOR);
	put(&driver_desc[1], PAYLOAD_READ_TO, 100, flags, 2);
	put(&driver_desc[2], PAYLOAD_READ_TO + 100, PAYLOAD_READ_LEN - 100, flags, 3);
	put_status(&driver_desc[3]);
	guest_check(run(PAYLOAD_READ_LEN + 1) == VIRTIO_BLK_S_OK);
}

static uint8_t read_sector(uint64_t sector, uint64_t to, uint32_t len)
{
	put_request(&driver_desc[0], VIRTIO_BLK_T_IN, sector);
	put(&driver_desc[1], to, SECTOR, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
	put_status(&driver_desc[2]);
	return run(len);
}

/* More requests than the ring has entries. */
static void read_all(void)
{
	uint64_t to = DRIVER_BUFFERS + 0x400;
	const volatile uint8_t *bytes = (const volatile uint8_t *)to;

	for (uint64_t sector = 8; sector < PAYLOAD_DISK_SECTORS; sector++) {
		guest_check(read_sector(sector, to, SECTOR + 1) == VIRTIO_BLK_S_OK);
		guest_check(bytes[0] == payload_disk_byte(sector * SECTOR));
		guest_check(bytes[511] == payload_disk_byte(sector * SECTOR + 511));
	}
}

/* Refused, and that is all: the device goes on. */
static void ask_nonsense(void)
{
	guest_check(read_sector(PAYLOAD_DISK_SECTORS, DRIVER_BUFFERS + 0x400, 1) ==
		    VIRTIO_BLK_S_IOERR);
	guest_check(read_sector(UINT64_MAX, DRIVER_BUFFERS + 0x400, 1) == VIRTIO_BLK_S_IOERR);
	put_request(&driver_desc[0], 0x1234, 0);
	put_status(&driver_desc[1]);
	guest_check(run(1) == VIRTIO_BLK_S_UNSUPP);
	guest_check(!driver_needs_reset());
}

static void get_id(void)
{
	put_request(&driver_desc[0], VIRTIO_BLK_T_GET_ID, 0);
	put(&driver_desc[1], id_at, 20, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
	put_status(&driver_desc[2]);
	guest_check(run(21) == VIRTIO_BLK_S_OK);
	mailbox->values[0] = *(volatile uint64_t *)id_at;
}

static void honest(void)
{
	identify();
	driver_start(&driver);
	read_some();
	write_some();
	ask_nonsense();
	read_all();
	get_id();
	if (mailbox->use_irq)
		guest_check(driver.interrupt == VIRTIO_MMIO_INT_VRING);
}

static void put_long_chain(void)
{
	for (unsigned int i = 0; i < MANY; i++)
		put(&table[i], write_at + i, 1, VRING_DESC_F_NEXT, (uint16_t)(i + 1));
	put_status(&table[MANY - 1]);
	put(&driver_desc[0], (uint64_t)table, MANY * sizeof(*table), VRING_DESC_F_INDIRECT, 0);
}

/* Descriptor 0 begins a chain with this mistake. */
static void put_mistake(uint32_t mistake)
{
	uint16_t flags = VRING_DESC_F_NEXT | VRING_DESC_F_WRITE;

	put_request(&driver_desc[0], VIRTIO_BLK_T_IN, 0);
	put_status(&driver_desc[2]);
	switch (mistake) {
	case BLK_CASE_BUFFER_OUTSIDE:
		put(&driver_desc[1], PAYLOAD_MEMORY - SECTOR + 1, SECTOR, flags, 2);
		break;
	case BLK_CASE_BUFFER_WRAPS:
		put(&driver_desc[1], UINT64_MAX - 255, SECTOR, flags, 2);
		break;
	case BLK_CASE_LOOP:
		put(&driver_desc[1], write_at, 0, flags, 1);
		break;
	case BLK_CASE_TOO_LONG:
		put_long_chain();
		break;
	case BLK_CASE_BAD_NEXT:
		put(&driver_desc[1], write_at, SECTOR, flags, 1000);
		break;
	case BLK_CASE_TABLE_OUTSIDE:
		put(&driver_desc[0], PAYLOAD_MEMORY - 16, 64, VRING_DESC_F_INDIRECT, 0);
		break;
	case BLK_CASE_NO_STATUS:
		put(&driver_desc[1], write_at, SECTOR, 0, 0);
		break;
	default:
		break;
	}
}

static void break_queue(uint32_t mistake)
{
	if (mistake == BLK_CASE_RINGS_OUTSIDE) {
		driver_setup(&driver, PAYLOAD_MEMORY - 16);
		guest_check(driver_read(VIRTIO_MMIO_QUEUE_READY) == 0);
		guest_check(driver_needs_reset());
		return;
	}
	driver_start(&driver);
	put_mistake(mistake);
	driver_offer(mistake == BLK_CASE_BAD_HEAD ? DRIVER_SIZE : 0);
	if (mistake == BLK_CASE_BAD_INDEX)
		driver_avail->idx = DRIVER_SIZE + 1;
	guest_check(!driver_complete(&driver));
	guest_check(driver_read(VIRTIO_MMIO_INTERRUPT_STATUS) | driver.interrupt);
}

void main(void)
{
	if (mailbox->use_irq)
		enable_irq(LAYOUT_IRQ_FIRST);
	if (mailbox->arg == BLK_CASE_IO) {
		honest();
		return;
	}
	/* Twice, for a reset must heal all of it; and then everything has to work. */
	break_queue(mailbox->arg);
	break_queue(mailbox->arg);
	honest();
}
