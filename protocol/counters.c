#include "protocol/counters.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define COUNTS_LEN (2 * sizeof(uint32_t))

/* The same either way. */
static void swap64(void *numbers, size_t len)
{
	uint8_t *at = numbers;

	for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
		uint64_t value;

		memcpy(&value, at + i, sizeof(value));
		value = le64toh(value);
		memcpy(at + i, &value, sizeof(value));
	}
}

static void swap_queues(struct proto_queue_counters *queues, size_t count)
{
	for (size_t i = 0; i < count; i++)
		swap64((uint8_t *)&queues[i] + sizeof(queues[i].device),
		       sizeof(queues[i]) - sizeof(queues[i].device));
}

static void clean_device(struct proto_queue_counters *queue)
{
	char text[sizeof(queue->device)];

	memcpy(text, queue->device, sizeof(text));
	proto_text_clean(queue->device, (const uint8_t *)text, strnlen(text, sizeof(text) - 1));
}

int proto_decode_counters(const struct proto_frame *frame, struct proto_counters *out)
{
	uint32_t counts[2];
	size_t vcpus, queues;

	if (frame->body_len < COUNTS_LEN)
		return -EPROTO;
	memcpy(counts, frame->body, COUNTS_LEN);
	out->vcpu_count = le32toh(counts[0]);
	out->queue_count = le32toh(counts[1]);
	if (out->vcpu_count > PROTO_VCPUS_MAX || out->queue_count > PROTO_QUEUES_MAX)
		return -EPROTO;
	vcpus = out->vcpu_count * sizeof(out->vcpus[0]);
	queues = out->queue_count * sizeof(out->queues[0]);
	if (frame->body_len != COUNTS_LEN + vcpus + queues)
		return -EPROTO;
	memcpy(out->vcpus, frame->body + COUNTS_LEN, vcpus);
	memcpy(out->queues, frame->body + COUNTS_LEN + vcpus, queues);
	swap64(out->vcpus, vcpus);
	swap_queues(out->queues, out->queue_count);
	for (uint32_t i = 0; i < out->queue_count; i++)
		clean_device(&out->queues[i]);
	return 0;
}

size_t proto_encode_counters(const struct proto_counters *counters, uint8_t *out)
{
	uint32_t counts[2] = {htole32(counters->vcpu_count), htole32(counters->queue_count)};
	size_t vcpus = counters->vcpu_count * sizeof(counters->vcpus[0]);
	size_t queues = counters->queue_count * sizeof(counters->queues[0]);

	memcpy(out, counts, COUNTS_LEN);
	memcpy(out + COUNTS_LEN, counters->vcpus, vcpus);
	memcpy(out + COUNTS_LEN + vcpus, counters->queues, queues);
	swap64(out + COUNTS_LEN, vcpus);
	/* Packed structs: any address will do. */
	swap_queues((struct proto_queue_counters *)(out + COUNTS_LEN + vcpus),
		    counters->queue_count);
	return COUNTS_LEN + vcpus + queues;
}
