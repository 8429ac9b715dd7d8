# The payload tests: small guests without an operating system, run on this machine's KVM by the VMM's own code.
# tests/payload/guest/NAME.c becomes a flat image, which images.S puts into the program as guest_image_NAME.

PAYLOAD_GUESTS := $(sort $(patsubst tests/payload/guest/%.c,%,$(wildcard tests/payload/guest/*.c)))
PAYLOAD_SOURCES := $(sort $(wildcard tests/payload/*.c))
PAYLOAD_O = $(BUILD)/tests/payload.o
PAYLOAD_OBJECTS := $(PAYLOAD_SOURCES:%.c=$(PAYLOAD_O)/%.o) $(PAYLOAD_O)/images.o
PAYLOAD_LIBS = $(shell pkg-config --libs check) $(VMM_LIBS) -lseccomp

# No SSE: the guest has not enabled it. No red zone: interrupts use the stack. Nothing that needs a library.
PAYLOAD_GUEST_CFLAGS = -O2 -std=gnu11 -ffreestanding -fno-pic -fno-pie -mno-red-zone -mgeneral-regs-only \
		       -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables \
		       -fno-tree-loop-distribute-patterns

.SECONDARY: $(PAYLOAD_GUESTS:%=$(PAYLOAD_O)/guest/%.o) $(PAYLOAD_O)/guest/start.o
.PHONY: payload-build payload-test
payload-build: $(BUILD)/tests/payload $(BUILD)/tests/without $(BUILD)/tests/vmm-gives-up
payload-test: $(BUILD)/tests/payload
	@$<

$(PAYLOAD_O)/guest/%.o: tests/payload/guest/%.c
	@mkdir -p $(@D)
	@$(CC) -I. $(PAYLOAD_GUEST_CFLAGS) $(WARNINGS) -Wno-main -MMD -MP -c -o $@ $<

$(PAYLOAD_O)/guest/start.o: tests/payload/guest/start.S
	@mkdir -p $(@D)
	@$(CC) -I. -MMD -MP -c -o $@ $<

# Attacks on every device are a long story.
PAYLOAD_ATTACK := $(patsubst tests/payload/%.c,$(PAYLOAD_O)/%.o,$(sort $(wildcard tests/payload/guest/attack/*.c)))
$(PAYLOAD_O)/guest/attack.bin: $(PAYLOAD_ATTACK)

$(PAYLOAD_O)/guest/%.bin: $(PAYLOAD_O)/guest/start.o $(PAYLOAD_O)/guest/%.o tests/payload/guest/guest.ld
	@$(LD) -m elf_x86_64 -nostdlib -T tests/payload/guest/guest.ld --oformat binary -o $@ $(filter %.o,$^)

# Not flat but a vmlinux, as machine_test.c boots it in Linux's place.
$(PAYLOAD_O)/guest/kernel.o: tests/payload/kernel/kernel.c
	@mkdir -p $(@D)
	@$(CC) -I. $(PAYLOAD_GUEST_CFLAGS) $(WARNINGS) -MMD -MP -c -o $@ $<

$(PAYLOAD_O)/guest/kernel.bin: $(PAYLOAD_O)/guest/kernel.o tests/payload/kernel/kernel.ld
	@$(LD) -m elf_x86_64 -nostdlib -static -z noexecstack --no-warn-rwx-segments -T tests/payload/kernel/kernel.ld -o $@ $<

$(PAYLOAD_O)/images.o: tests/payload/images.S $(PAYLOAD_GUESTS:%=$(PAYLOAD_O)/guest/%.bin) $(PAYLOAD_O)/guest/kernel.bin
	@$(CC) -I$(PAYLOAD_O)/guest -c -o $@ $<

$(PAYLOAD_O)/%.o: %.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/payload: $(PAYLOAD_OBJECTS) $(filter-out $(BUILD)/obj/vmm/main.o,$(VMM_OBJECTS))
	@$(CC) -o $@ $^ $(PAYLOAD_LIBS)

# The same with ASan and UBSan: what a hostile guest makes the VMM touch beside its memory is noticed.
PAYLOAD_SANITIZED = $(PAYLOAD_SOURCES) $(filter-out vmm/main.c,$(VMM_SOURCES))

$(BUILD)/sanitize/payload.o/vmm/filter.o: CPPFLAGS += -I$(BUILD)/gen
$(BUILD)/sanitize/payload.o/vmm/filter.o: $(BUILD)/gen/filter_programs.h
$(BUILD)/sanitize/payload.o/%.o: %.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(SANITIZE) $(WARNINGS) -Wno-format-truncation -MMD -MP -c -o $@ $<

$(BUILD)/sanitize/payload: $(PAYLOAD_SANITIZED:%.c=$(BUILD)/sanitize/payload.o/%.o) $(PAYLOAD_O)/images.o
	@$(CC) $(SANITIZE) -o $@ $^ $(PAYLOAD_LIBS)

# Each device, by each format of ring, attacked for SECONDS: at full speed, then by the sanitized VMM.
.PHONY: fuzz-attack
fuzz-attack: $(BUILD)/tests/payload $(BUILD)/sanitize/payload
	@for program in $^; do \
		echo "attacking the devices of $$program for $(SECONDS) s each"; \
		LAB_TIMEOUT=$$((3600 + 60 * $(SECONDS))) tests/on-kvm --any env CK_RUN_SUITE=attack ATTACK_SECONDS=$(SECONDS) $$program || exit 1; \
	done

# For the integration tests: a host on which system calls fail.
$(BUILD)/tests/without: tests/without.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) -o $@ $< -lseccomp

# A VMM whose KVM cannot boot Linux.
$(BUILD)/tests/vmm-gives-up: tests/kvm_gives_up.c $(VMM_OBJECTS)
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) -Wl,--wrap=ioctl,--wrap=mmap64 -o $@ $^ $(VMM_LIBS)

-include $(PAYLOAD_SANITIZED:%.c=$(BUILD)/sanitize/payload.o/%.d)
-include $(PAYLOAD_SOURCES:%.c=$(PAYLOAD_O)/%.d) $(PAYLOAD_GUESTS:%=$(PAYLOAD_O)/guest/%.d) $(PAYLOAD_ATTACK:.o=.d) $(PAYLOAD_O)/guest/start.d \
	 $(PAYLOAD_O)/guest/kernel.d
