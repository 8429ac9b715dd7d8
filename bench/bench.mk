# The benchmarks' own programs. build/bench/core is made of the VMM's objects as they ship, of the payload guests and of the
# unit tests' synthetic driver; with DPDK's vhost library beside them where that is installed.

.PHONY: bench
bench: all $(BUILD)/bench/until_hello $(BUILD)/bench/timed $(BUILD)/bench/exchange $(BUILD)/bench/packets $(BUILD)/bench/core \
       $(BUILD)/tests/bulk $(BUILD)/tests/talk
	@bench/run

$(BUILD)/bench/%: bench/%.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) -o $@ $< $(BENCH_LIBS)

$(BUILD)/bench/registered: BENCH_LIBS = -luring

BENCH_CORE_O = $(BUILD)/bench.o
BENCH_CORE := $(patsubst bench/%.c,$(BENCH_CORE_O)/%.o,$(sort $(wildcard bench/core*.c)))
BENCH_CORE_WITH = $(filter-out $(BUILD)/obj/vmm/main.o,$(VMM_OBJECTS)) $(PAYLOAD_O)/tests/payload/payload.o \
		  $(PAYLOAD_O)/images.o $(BUILD)/tests/unit.o/tests/unit/driver.o $(BUILD)/tests/unit.o/tests/unit/vsock_guest.o

ifeq ($(shell pkg-config --exists libdpdk && echo yes),yes)
BENCH_DPDK_CFLAGS = -DWITH_DPDK $(patsubst -I%,-isystem %,$(shell pkg-config --cflags libdpdk))
BENCH_DPDK_LIBS = -lrte_vhost -lrte_mbuf -lrte_mempool -lrte_eal
endif

$(BENCH_CORE_O)/%.o: bench/%.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) $(if $(filter %_dpdk.o,$@),$(BENCH_DPDK_CFLAGS)) -MMD -MP -c -o $@ $<

$(BUILD)/bench/core: $(BENCH_CORE) $(BENCH_CORE_WITH)
	@mkdir -p $(@D)
	@$(CC) -o $@ $^ $(VMM_LIBS) $(BENCH_DPDK_LIBS)

-include $(BENCH_CORE:.o=.d)
