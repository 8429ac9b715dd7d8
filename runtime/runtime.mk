# bulkhead, the OCI command line.

RUNTIME_SOURCES := $(sort $(wildcard runtime/*.c) $(wildcard protocol/*.c) $(wildcard common/*.c))
RUNTIME_OBJECTS := $(RUNTIME_SOURCES:%.c=$(BUILD)/obj/%.o)
RUNTIME_LIBS = -ljansson -lseccomp

$(BUILD)/bulkhead: $(RUNTIME_OBJECTS)
	@$(CC) $(CFLAGS) $(HARDEN) $(LDHARDEN) -o $@ $^ $(RUNTIME_LIBS)

-include $(RUNTIME_OBJECTS:.o=.d)
