/*
 * virtio-console (virtio 1.2, section 5.3), one port, output only: what the guest writes goes to
 * a sink, nothing is ever typed.
 */
#ifndef DEVICES_CONSOLE_H
#define DEVICES_CONSOLE_H

#include "common/error.h"
#include "devices/virtio.h"

struct console;

/* Called on the device's loop with what the guest wrote: hostile bytes, len > 0. */
typedef void console_output_fn(void *ctx, const void *bytes, size_t len);

int console_create(struct console **out, const struct guest_memory *mem, console_output_fn *output,
		   void *ctx, struct error *err);
void console_destroy(struct console *console);
struct virtio_device *console_device(struct console *console);

#endif
