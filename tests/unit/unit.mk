# The unit tests, one program from every tests/unit/*_test.c; a second build of it has ASan and UBSan.
# Each file's suite is a function named after the file: loop_test.c has Suite *loop_suite(void).

# Of the runtime, what can be tested without a VM.
UNIT_RUNTIME := $(addprefix runtime/,cmd_spec.c companion.c confine.c digest.c file.c hooks.c json.c launch_config.c layer_cache.c \
		layer_entry.c network_change.c options.c overlay.c pin.c scratch.c \
		settings.c shared_root.c shares.c shares_daemon.c signals.c spec_check.c spec_fields.c spec_types.c store.c tool.c tree.c user.c vm_size.c)
# Of the agent, how it makes mounts in a root that somebody changes.
UNIT_AGENT := $(addprefix guest-agent/,binds.c copy.c mount_options.c mounts.c new_mount.c path.c shares.c spec.c)
UNIT_SOURCES := $(sort $(wildcard tests/unit/*.c) $(wildcard common/*.c) $(wildcard devices/*.c) \
		 $(wildcard protocol/*.c) vmm/daemon_log.c vmm/elf.c vmm/exec.c vmm/kvm.c vmm/memory.c vmm/stdio.c $(UNIT_RUNTIME) $(UNIT_AGENT))
UNIT_LIBS = $(shell pkg-config --libs check liburing jansson) -l:libcrypto.a -lpthread
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g

.PHONY: unit-test
unit-test: $(BUILD)/tests/unit $(BUILD)/tests/tree $(BUILD)/tests/set-attributes

# What the bats tests compare file trees with, inside and outside: static, so that it runs in any root.
$(BUILD)/tests/tree: tests/integration/tree.c runtime/digest.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) -static -o $@ $^ -l:libcrypto.a

$(BUILD)/tests/set-attributes: tests/integration/set_attributes.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) -o $@ $^

$(BUILD)/tests/unit.o/%.o: %.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) -MMD -MP -c -o $@ $<

$(BUILD)/sanitize/unit.o/%.o: %.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(SANITIZE) $(WARNINGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/unit: $(UNIT_SOURCES:%.c=$(BUILD)/tests/unit.o/%.o)
	@$(CC) -o $@ $^ $(UNIT_LIBS)

$(BUILD)/sanitize/unit: $(UNIT_SOURCES:%.c=$(BUILD)/sanitize/unit.o/%.o)
	@$(CC) $(SANITIZE) -o $@ $^ $(UNIT_LIBS)

-include $(UNIT_SOURCES:%.c=$(BUILD)/tests/unit.o/%.d) $(UNIT_SOURCES:%.c=$(BUILD)/sanitize/unit.o/%.d)
