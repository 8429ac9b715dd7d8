/* The list of all suites; a new one is added here and defined in NAME_test.c. */
#ifndef TESTS_UNIT_SUITES_H
#define TESTS_UNIT_SUITES_H

#include <check.h>

/* clang-format off */
#define UNIT_SUITES \
	SUITE(error) \
	SUITE(log) \
	SUITE(records) \
	SUITE(look_time) \
	SUITE(loop) \
	SUITE(memory) \
	SUITE(virtqueue) \
	SUITE(packed) \
	SUITE(mmio) \
	SUITE(protocol) \
	SUITE(settings) \
	SUITE(launch) \
	SUITE(network_change) \
	SUITE(spec) \
	SUITE(reports) \
	SUITE(exec) \
	SUITE(base64) \
	SUITE(rate_limit) \
	SUITE(write_ring) \
	SUITE(layers) \
	SUITE(activity) \
	SUITE(roots) \
	SUITE(path_race) \
	SUITE(vm_memory) \
	SUITE(pace) \
	SUITE(elf) \
	SUITE(net_vhost) \
	SUITE(fs)
/* Run twice, the second time with packed rings. */
#define DEVICE_SUITES \
	SUITE(rng) \
	SUITE(state) \
	SUITE(balloon) \
	SUITE(mem) \
	SUITE(console) \
	SUITE(blk) \
	SUITE(net) \
	SUITE(net_look) \
	SUITE(net_tap) \
	SUITE(io_thread) \
	SUITE(vsock) \
	SUITE(vsock_flow) \
	SUITE(vsock_hybrid)
/* clang-format on */

#define SUITE(name) Suite *name##_suite(void);
UNIT_SUITES
DEVICE_SUITES
#undef SUITE

#endif
