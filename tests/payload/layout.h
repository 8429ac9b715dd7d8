/*
 * What a test and its payload guest know of each other: where things are in guest memory, the
 * ports they talk through, and the mailbox. Included by both; also by assembly.
 */
#ifndef TESTS_PAYLOAD_LAYOUT_H
#define TESTS_PAYLOAD_LAYOUT_H

/* Pages that the test fills in before the guest runs. */
#define PAYLOAD_PAGE_TABLES 0x1000
#define PAYLOAD_GDT	    0x5000
#define PAYLOAD_IDT	    0x6000
#define PAYLOAD_IRQ_STACK   0x9000 /* its top; entered on from user mode */
#define PAYLOAD_MAILBOX	    0xa000
#define PAYLOAD_TSS	    0xc000  /* with an I/O bitmap, until 0xe100 */
#define PAYLOAD_CODE	    0x10000 /* the image is linked to run here, and entered here */
#define PAYLOAD_STACK	    0x80000 /* its top */
#define PAYLOAD_DATA	    0x100000
#define PAYLOAD_MEMORY	    0x1000000 /* bytes of guest memory */

/* Registers of the test's own: a recorded range, its neighbour, and where nobody answers. */
#define PAYLOAD_PORTS	     0x500
#define PAYLOAD_PORTS_LEN    0x10
#define PAYLOAD_PORT_NOBODY  0x5f0
#define PAYLOAD_MMIO	     0xd0200000
#define PAYLOAD_MMIO_LEN     0x40
#define PAYLOAD_MMIO_NEXT    (PAYLOAD_MMIO + PAYLOAD_MMIO_LEN)
#define PAYLOAD_MMIO_NOBODY  0xd0210000
#define PAYLOAD_PORT_ARRIVED 0x600 /* a write tells the test that the guest has come so far */

/* Interrupt vectors: the IOAPIC's pin n is programmed to this one and n. */
#define PAYLOAD_VECTOR 0x30

#define PAYLOAD_VALUES 32

#ifndef __ASSEMBLER__
#include <stdint.h>

/* What guest/run.c does. */
enum payload_run_case {
	RUN_POWER_OFF,
	RUN_RESET,
	RUN_PANIC,
	RUN_TRIPLE_FAULT,
	RUN_NO_CODE, /* goes on where there is no memory */
	RUN_SPIN,
	RUN_HALT,
	RUN_CONSOLE,
};

/* What guest/event.c does. */
enum payload_event_case {
	EVENT_NOTIFY,
	EVENT_INTERRUPTS,      /* every slot's line, sleeping in between */
	EVENT_INTERRUPTS_BUSY, /* one, while user mode runs */
};

/* What guest/exits.c does, values[0] times. */
enum payload_exits_case {
	EXITS_PORT_WRITE,
	EXITS_PORT_READ,
	EXITS_MMIO_WRITE,
	EXITS_MMIO_READ,
	EXITS_CASES,
};

/* What guest/blk.c does. All but the first are a driver's mistakes. */
enum payload_blk_case {
	BLK_CASE_IO,
	BLK_CASE_RINGS_OUTSIDE,
	BLK_CASE_BUFFER_OUTSIDE,
	BLK_CASE_BUFFER_WRAPS,
	BLK_CASE_LOOP,
	BLK_CASE_TOO_LONG,
	BLK_CASE_BAD_HEAD,
	BLK_CASE_BAD_NEXT,
	BLK_CASE_BAD_INDEX,
	BLK_CASE_TABLE_OUTSIDE,
	BLK_CASE_NO_STATUS,
	BLK_CASES,
};

#define PAYLOAD_DISK_SECTORS 64

/* What is on the disk before. */
static inline uint8_t payload_disk_byte(uint64_t offset)
{
	return (uint8_t)(offset * 7 + (offset >> 9) * 13);
}

/* What the guest writes: where, and which bytes. */
#define PAYLOAD_WRITE_SECTOR 3
#define PAYLOAD_WRITE_LEN    1024

static inline uint8_t payload_written_byte(uint64_t offset)
{
	return (uint8_t)(offset * 11 + 1);
}

/* What it reads, and where to in guest memory. */
#define PAYLOAD_READ_SECTOR 8
#define PAYLOAD_READ_LEN    2048
#define PAYLOAD_READ_TO	    (PAYLOAD_DATA + 0x20000)

/*
 * guest/attack.c: arg is the slot, and values from the test are these. Its vsock connections go
 * from CID to a port that gives zeroes and takes everything.
 */
#define PAYLOAD_SEED	   0
#define PAYLOAD_SCRIPTED   1 /* else at random until */
#define PAYLOAD_STOP	   2 /* is set */
#define PAYLOAD_ROUNDS	   3 /* done; from the guest */
#define PAYLOAD_PACKED	   4 /* by packed rings */
#define PAYLOAD_CID	   3
#define PAYLOAD_VSOCK_PORT 7
#define PAYLOAD_ALIVE	   "still alive\n"

struct payload_mailbox {
	volatile uint32_t irqs; /* interrupts taken; first, as assembly counts here */
	uint32_t arg;		/* from the test: which case */
	uint32_t failed_line;	/* of the payload's source, 0: all went well */
	char failed_file[16];	/* terminated: its name */
	uint32_t use_irq;	/* from the test: wait by interrupt, which needs kernel mode */
	uint64_t values[PAYLOAD_VALUES];
};
#endif

#endif
