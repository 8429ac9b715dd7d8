# bulkhead-vmm: one process per VM. Everything below vmm/ and devices/ is linked in, and the codec.

VMM_SOURCES := $(sort $(wildcard vmm/*.c) $(wildcard devices/*.c) $(wildcard protocol/*.c) $(wildcard common/*.c))
VMM_OBJECTS := $(VMM_SOURCES:%.c=$(BUILD)/obj/%.o)
# Linked in where the VMM itself is made: looking for libraries would take a millisecond of every start.
VMM_LIBS = -lfdt -luring -lpthread

# The seccomp filters: a table, made into programs here and not at every start.
$(BUILD)/filters: vmm/filters/compile.c $(wildcard vmm/filters/*.h)
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) -o $@ $< -lseccomp

$(BUILD)/gen/filter_programs.h: $(BUILD)/filters
	@mkdir -p $(@D)
	@$< header >$@

$(BUILD)/obj/vmm/filter.o: CPPFLAGS += -I$(BUILD)/gen
$(BUILD)/obj/vmm/filter.o: $(BUILD)/gen/filter_programs.h

$(BUILD)/bulkhead-vmm: $(VMM_OBJECTS)
	@$(CC) $(CFLAGS) $(HARDEN) $(LDHARDEN) -static-pie -o $@ $^ $(VMM_LIBS)

-include $(VMM_OBJECTS:.o=.d)
