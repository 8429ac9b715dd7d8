# bulkhead-vmm: one process per VM. Everything below vmm/ and devices/ is linked in, and the codec.

VMM_SOURCES := $(sort $(wildcard vmm/*.c) $(wildcard devices/*.c) $(wildcard protocol/*.c) $(wildcard common/*.c))
VMM_OBJECTS := $(VMM_SOURCES:%.c=$(BUILD)/obj/%.o)
VMM_LIBS = -lfdt -luring -lcap-ng -lpthread

$(BUILD)/bulkhead-vmm: $(VMM_OBJECTS)
	@$(CC) $(CFLAGS) $(HARDEN) $(LDHARDEN) -o $@ $^ $(VMM_LIBS)

-include $(VMM_OBJECTS:.o=.d)
