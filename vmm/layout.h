/* Where things are in the guest's physical address space. */
#ifndef VMM_LAYOUT_H
#define VMM_LAYOUT_H

/* Boot data in the first 640 KiB; the kernel reserves or forgets all of it early. */
#define LAYOUT_GDT	    0x00000500u
#define LAYOUT_ZERO_PAGE    0x00007000u
#define LAYOUT_PAGE_TABLES  0x00009000u /* three pages */
#define LAYOUT_CMDLINE	    0x00020000u
#define LAYOUT_CMDLINE_SIZE 2048u /* the kernel's COMMAND_LINE_SIZE, with its terminator */
#define LAYOUT_SETUP_DATA   0x00030000u
#define LAYOUT_LOW_END	    0x0009fc00u
#define LAYOUT_HIGH_START   0x00100000u

/* Devices, in the hole between 3 and 4 GiB. */
#define LAYOUT_VIRTIO	   0xd0000000u
#define LAYOUT_VIRTIO_STEP 0x1000u
#define LAYOUT_POWER	   0xd0100000u /* syscon register: power off */
#define LAYOUT_PVPANIC	   0xd0101000u
#define LAYOUT_VMGENID	   0xd0102000u /* 16 bytes */
#define LAYOUT_IOAPIC	   0xfec00000u
#define LAYOUT_LAPIC	   0xfee00000u

/* The IOAPIC has 24 pins; the lowest are taken by tradition. One for changes of any device's
 * configuration, and for each device one for the buffers that it has used. */
#define LAYOUT_IRQ_CONFIG   3u
#define LAYOUT_IRQ_VMGENID  4u
#define LAYOUT_IRQ_FIRST    5u
#define LAYOUT_VIRTIO_SLOTS 19u

#define LAYOUT_POWER_OFF_VALUE 0x0ffu

#endif
