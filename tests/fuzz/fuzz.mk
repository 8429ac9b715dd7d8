# A fuzzer from every tests/fuzz/NAME_fuzz.c (libFuzzer), its seeds and findings in tests/fuzz/corpus/NAME.

FUZZERS := $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
# Beside what is tested, the synthetic driver of the unit tests.
FUZZ_LIBRARY := $(wildcard common/*.c devices/*.c protocol/*.c) \
		tests/unit/driver.c tests/unit/tap.c tests/unit/vsock_guest.c
# What a fuzzer needs of vmm/ and runtime/, and libraries.
FUZZ_control = $(wildcard vmm/control*.c) vmm/agent.c vmm/peer.c vmm/exec.c vmm/stdio.c
FUZZ_elf = vmm/elf.c
FUZZ_config = $(filter-out runtime/main.c runtime/cmd_%.c,$(wildcard runtime/*.c)) runtime/cmd_spec.c
FUZZ_LIBS_config = -isystem /usr/include/libnl3 $(RUNTIME_LIBS)
FUZZ_oci = $(FUZZ_config)
FUZZ_LIBS_oci = $(FUZZ_LIBS_config)
# Its KVM is the fuzzer's.
FUZZ_machine = vmm/snapshot.c vmm/vcpu_state.c vmm/memory.c vmm/kvm.c
FUZZ_LIBS_machine = -Wl,--wrap=ioctl
# The file itself is part of the fuzzer.
FUZZ_snapshot = $(filter-out runtime/snapshot.c,$(FUZZ_config))
FUZZ_LIBS_snapshot = $(FUZZ_LIBS_config)
FUZZ_LIBS_unpack = -larchive
FUZZ_FLAGS = -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -O1 -g
SECONDS ?= 60

.SECONDEXPANSION:
$(BUILD)/fuzz/%: tests/fuzz/%_fuzz.c $$(FUZZ_$$*) $(FUZZ_LIBRARY) \
		$(wildcard common/*.h devices/*.h protocol/*.h runtime/*.h vmm/*.h tests/fuzz/*.h tests/unit/*.h)
	@mkdir -p $(@D)
	@clang $(CPPFLAGS) $(FUZZ_FLAGS) -o $@ $< $(FUZZ_$*) $(FUZZ_LIBRARY) -luring $(FUZZ_LIBS_$*) -lpthread

# New inputs are kept below $(BUILD); only what is worth keeping is copied to the corpus by hand.
fuzz: $(FUZZERS:%=$(BUILD)/fuzz/%)
	@for name in $(FUZZERS); do \
		mkdir -p $(BUILD)/fuzz/$$name.found tests/fuzz/corpus/$$name; \
		echo "fuzzing $$name for $(SECONDS) s"; \
		$(BUILD)/fuzz/$$name -max_total_time=$(SECONDS) -print_final_stats=1 -verbosity=0 -close_fd_mask=1 \
			-artifact_prefix=$(BUILD)/fuzz/$$name- $(BUILD)/fuzz/$$name.found tests/fuzz/corpus/$$name || exit 1; \
	done
	@$(MAKE) --no-print-directory fuzz-attack

.PHONY: fuzz-replay
fuzz-replay: $(FUZZERS:%=$(BUILD)/fuzz/%)
	@for name in $(FUZZERS); do \
		$(BUILD)/fuzz/$$name -runs=0 -verbosity=0 -close_fd_mask=1 $$(ls -d tests/fuzz/corpus/$$name 2>/dev/null) || exit 1; \
	done
