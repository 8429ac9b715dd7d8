# bulkhead, the OCI command line.

RUNTIME_SOURCES := $(sort $(wildcard runtime/*.c) $(wildcard protocol/*.c) $(wildcard common/*.c))
RUNTIME_OBJECTS := $(RUNTIME_SOURCES:%.c=$(BUILD)/obj/%.o)
RUNTIME_LIBS = -ljansson -lseccomp

all: $(BUILD)/bulkhead

# The same rule serves every program that is made of $(BUILD)/obj.
$(BUILD)/obj/runtime/%.o: runtime/%.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) $(HARDEN) -MMD -MP -c -o $@ $<

$(BUILD)/obj/protocol/%.o: protocol/%.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) $(HARDEN) -MMD -MP -c -o $@ $<

$(BUILD)/obj/common/%.o: common/%.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) $(HARDEN) -MMD -MP -c -o $@ $<

$(BUILD)/bulkhead: $(RUNTIME_OBJECTS)
	@$(CC) $(LDHARDEN) $(LDFLAGS) -o $@ $^ $(RUNTIME_LIBS)

-include $(RUNTIME_OBJECTS:.o=.d)
