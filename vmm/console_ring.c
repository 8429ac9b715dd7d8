#include "vmm/console_ring.h"

#include "common/clock.h"
#include "common/log.h"

void console_ring_init(struct console_ring *ring, bool to_log)
{
	pthread_mutex_init(&ring->lock, NULL);
	ring->next = 0;
	ring->wrapped = false;
	ring->to_log = to_log;
	ring->created_us = monotonic_ns() / 1000;
	ring->line_len = 0;
}

void console_ring_destroy(struct console_ring *ring)
{
	pthread_mutex_destroy(&ring->lock);
}

static char sanitized(char c)
{
	return c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7f) ? c : '?';
}

static void log_byte(struct console_ring *ring, char c)
{
	if (c == '\r')
		return;
	if (c != '\n')
		ring->line[ring->line_len++] = sanitized(c);
	if (c == '\n' || ring->line_len == sizeof(ring->line) - 1) {
		ring->line[ring->line_len] = '\0';
		if (ring->line_len)
			log_debug("guest after %llu us: %s",
				  (unsigned long long)(monotonic_ns() / 1000 - ring->created_us),
				  ring->line);
		ring->line_len = 0;
	}
}

void console_ring_write(struct console_ring *ring, const void *bytes, size_t len)
{
	const char *from = bytes;

	pthread_mutex_lock(&ring->lock);
	for (size_t i = 0; i < len; i++) {
		ring->bytes[ring->next++] = from[i];
		if (ring->next == CONSOLE_RING_SIZE) {
			ring->next = 0;
			ring->wrapped = true;
		}
		if (ring->to_log)
			log_byte(ring, from[i]);
	}
	pthread_mutex_unlock(&ring->lock);
}

/* The byte that was written `back` bytes before the last one. */
static char byte_back(const struct console_ring *ring, size_t back)
{
	return ring->bytes[(ring->next + CONSOLE_RING_SIZE - 1 - back) % CONSOLE_RING_SIZE];
}

size_t console_ring_tail(struct console_ring *ring, unsigned int lines, char *out, size_t size)
{
	size_t held, take = 0, len = 0;

	pthread_mutex_lock(&ring->lock);
	held = ring->wrapped ? CONSOLE_RING_SIZE : ring->next;
	while (held > 0 && byte_back(ring, 0) == '\n' && take < held &&
	       byte_back(ring, take) == '\n')
		take++;
	/* Backwards over whole lines, as long as they fit. */
	while (take < held && take < size - 1) {
		if (byte_back(ring, take) == '\n' && --lines == 0)
			break;
		take++;
	}
	while (take > 0) {
		char c = byte_back(ring, --take);

		if (c != '\r')
			out[len++] = sanitized(c);
	}
	pthread_mutex_unlock(&ring->lock);
	while (len > 0 && out[len - 1] == '\n')
		len--;
	out[len] = '\0';
	return len;
}
