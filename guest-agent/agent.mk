# The guest agent: one static program, which is the whole initramfs.

AGENT_SOURCES := $(sort $(wildcard guest-agent/*.c)) common/error.c common/forget.c common/loop.c common/pass_fd.c common/proc.c common/unified.c \
		 $(wildcard protocol/*.c)
AGENT_OBJECTS = $(AGENT_SOURCES:%.c=$(BUILD)/guest-agent.o/%.o)
AGENT_CFLAGS = -Os -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables -fno-pie \
	       -fstack-protector-strong $(WARNINGS)
AGENT_LIBS = -ljansson -lcap-ng

$(BUILD)/guest-agent.o/%.o: %.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(AGENT_CFLAGS) -MMD -MP -c -o $@ $<

# Without warnings: libcap-ng has a function that looks into /etc/passwd, which a static program should not call,
# and this one does not.
$(BUILD)/guest/agent: $(AGENT_OBJECTS)
	@mkdir -p $(@D)
	@$(CC) -static -no-pie -Wl,--gc-sections -Wl,-z,noexecstack -Wl,--no-warnings -s -o $@ $^ $(AGENT_LIBS)

# Uncompressed: unpacking is a copy. Same agent, same bytes: the time stamp is fixed.
$(BUILD)/guest/initramfs.cpio: $(BUILD)/guest/agent
	@rm -rf $(BUILD)/guest/initramfs && mkdir -p $(BUILD)/guest/initramfs
	@install -m 0755 $< $(BUILD)/guest/initramfs/init && touch -d @0 $(BUILD)/guest/initramfs/init
	@cd $(BUILD)/guest/initramfs && echo init | \
		cpio -o -H newc -R 0:0 --reproducible --quiet >../initramfs.cpio
	@rm -rf $(BUILD)/guest/initramfs

.PHONY: agent
agent: $(BUILD)/guest/initramfs.cpio

-include $(AGENT_OBJECTS:.o=.d)
