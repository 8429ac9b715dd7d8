/* The last 64 KiB of what the guest's kernel said, for the message when it dies. */
#ifndef VMM_CONSOLE_RING_H
#define VMM_CONSOLE_RING_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#define CONSOLE_RING_SIZE 65536

struct console_ring {
	pthread_mutex_t lock;
	char bytes[CONSOLE_RING_SIZE];
	size_t next;	     /* where the next byte goes */
	bool wrapped;	     /* older bytes were overwritten */
	bool to_log;	     /* also log each line, at debug level */
	uint64_t created_us; /* the host's time tells where a boot spends its own */
	char line[256];
	size_t line_len;
};

void console_ring_init(struct console_ring *ring, bool to_log);
void console_ring_destroy(struct console_ring *ring);

/* From any thread; the bytes are hostile. */
void console_ring_write(struct console_ring *ring, const void *bytes, size_t len);

/*
 * Copies the last lines to out: at most lines many and size - 1 bytes, terminated; control
 * characters are replaced, so that no escape sequence reaches a terminal. Returns its length.
 */
size_t console_ring_tail(struct console_ring *ring, unsigned int lines, char *out, size_t size);

#endif
