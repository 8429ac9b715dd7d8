#include "runtime/counters_print.h"

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char *const exit_names[PROTO_EXITS] = {"port", "mmio", "signal", "other"};

/* What each queue has, in the order of the table's columns. */
static const struct {
	const char *name, *column, *help;
	size_t offset;
} rows[] = {
#define ROW(field, column, help)                                                   \
	{                                                                          \
#field, column, help, offsetof(struct proto_queue_counters, field) \
	}
	ROW(requests, "REQUESTS", "Requests taken from the queue."),
	ROW(bytes_out, "OUT", "Bytes that the guest gave to be read."),
	ROW(bytes_in, "IN", "Bytes written for the guest."),
	ROW(kicks, "KICKS", "Notifications by the guest."),
	ROW(interrupts, "INTERRUPTS", "Interrupts for used buffers."),
	ROW(suppressed, "SUPPRESSED", "Batches for which the guest wanted no interrupt."),
	ROW(errors, "ERRORS", "Times that the guest broke the queue."),
#undef ROW
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static unsigned long long value_of(const struct proto_queue_counters *queue, size_t row)
{
	uint64_t value;

	memcpy(&value, (const uint8_t *)queue + rows[row].offset, sizeof(value));
	return value;
}

static unsigned long long batches_of(const struct proto_queue_counters *queue)
{
	unsigned long long sum = 0;

	for (unsigned int i = 0; i < PROTO_BATCHES; i++)
		sum += queue->batches[i];
	return sum;
}

static int finish(struct error *err)
{
	return fflush(stdout) == EOF || ferror(stdout) ? error_set(err, EIO, "write the counters")
						       : 0;
}

static int print_table(const char *id, const struct proto_counters *counters, struct error *err)
{
	(void)id;
	printf("%-8s", "VCPU");
	for (unsigned int exit = 0; exit < PROTO_EXITS; exit++)
		printf(" %12s", exit_names[exit]);
	for (uint32_t i = 0; i < counters->vcpu_count; i++) {
		printf("\n%-8u", i);
		for (unsigned int exit = 0; exit < PROTO_EXITS; exit++)
			printf(" %12llu", (unsigned long long)counters->vcpus[i].exits[exit]);
	}
	printf("\n\n%-12s %-6s", "QUEUE", "RING");
	for (size_t row = 0; row < ROWS; row++)
		printf(" %12s", rows[row].column);
	printf(" %9s\n", "PER-BATCH");
	for (uint32_t i = 0; i < counters->queue_count; i++) {
		const struct proto_queue_counters *queue = &counters->queues[i];
		unsigned long long batches = batches_of(queue);
		char name[32];

		snprintf(name, sizeof(name), "%s.%llu", queue->device,
			 (unsigned long long)queue->queue);
		printf("%-12s %-6s", name, queue->packed ? "packed" : "split");
		for (size_t row = 0; row < ROWS; row++)
			printf(" %12llu", value_of(queue, row));
		printf(" %9.1f\n", batches ? (double)queue->requests / (double)batches : 0.0);
	}
	return finish(err);
}

static json_t *vcpu_to_json(const struct proto_vcpu_counters *vcpu)
{
	json_t *exits = json_object();

	for (unsigned int exit = 0; exit < PROTO_EXITS; exit++)
		json_object_set_new(exits, exit_names[exit],
				    json_integer((json_int_t)vcpu->exits[exit]));
	return json_pack("{s:o}", "exits", exits);
}

/* Batches by the least number of requests in each class. */
static json_t *queue_to_json(const struct proto_queue_counters *queue)
{
	json_t *object = json_pack("{s:s, s:I, s:s}", "device", queue->device, "queue",
				   (json_int_t)queue->queue, "ring",
				   queue->packed ? "packed" : "split");
	json_t *batches = json_object();

	for (size_t row = 0; row < ROWS; row++)
		json_object_set_new(object, rows[row].name,
				    json_integer((json_int_t)value_of(queue, row)));
	for (unsigned int i = 0; i < PROTO_BATCHES; i++) {
		char least[16];

		snprintf(least, sizeof(least), "%u", 1u << i);
		json_object_set_new(batches, least, json_integer((json_int_t)queue->batches[i]));
	}
	json_object_set_new(object, "batches", batches);
	return object;
}

static int print_json(const char *id, const struct proto_counters *counters, struct error *err)
{
	json_t *vcpus = json_array(), *queues = json_array(), *all;
	int ret;

	for (uint32_t i = 0; i < counters->vcpu_count; i++)
		json_array_append_new(vcpus, vcpu_to_json(&counters->vcpus[i]));
	for (uint32_t i = 0; i < counters->queue_count; i++)
		json_array_append_new(queues, queue_to_json(&counters->queues[i]));
	all = json_pack("{s:s, s:o, s:o}", "id", id, "vcpus", vcpus, "queues", queues);
	ret = all ? json_dumpf(all, stdout, JSON_INDENT(2)) : -1;
	json_decref(all);
	if (ret < 0)
		return error_set(err, ENOMEM, "write the counters");
	putchar('\n');
	return finish(err);
}

/* The text format 0.0.4. Ids have no character that would have to be escaped. */
static int print_prometheus(const char *id, const struct proto_counters *counters,
			    struct error *err)
{
	printf("# HELP bulkhead_vcpu_exits_total Exits of a vCPU to the VMM.\n"
	       "# TYPE bulkhead_vcpu_exits_total counter\n");
	for (uint32_t i = 0; i < counters->vcpu_count; i++)
		for (unsigned int exit = 0; exit < PROTO_EXITS; exit++)
			printf("bulkhead_vcpu_exits_total{id=\"%s\",vcpu=\"%u\",kind=\"%s\"} "
			       "%llu\n",
			       id, i, exit_names[exit],
			       (unsigned long long)counters->vcpus[i].exits[exit]);
	for (size_t row = 0; row < ROWS; row++) {
		printf("# HELP bulkhead_queue_%s_total %s\n# TYPE bulkhead_queue_%s_total counter\n",
		       rows[row].name, rows[row].help, rows[row].name);
		for (uint32_t i = 0; i < counters->queue_count; i++) {
			const struct proto_queue_counters *queue = &counters->queues[i];

			printf("bulkhead_queue_%s_total{id=\"%s\",device=\"%s\",queue=\"%llu\"} "
			       "%llu\n",
			       rows[row].name, id, queue->device, (unsigned long long)queue->queue,
			       value_of(queue, row));
		}
	}
	return finish(err);
}

counters_print_fn *counters_printer(const char *format)
{
	static const struct {
		const char *name;
		counters_print_fn *print;
	} formats[] = {
		{"table", print_table},
		{"json", print_json},
		{"prometheus", print_prometheus},
	};

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (!strcmp(format, formats[i].name))
			return formats[i].print;
	return NULL;
}
