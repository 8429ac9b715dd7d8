# bulkhead, the OCI command line.

RUNTIME_SOURCES := $(sort $(wildcard runtime/*.c) $(wildcard protocol/*.c) $(wildcard common/*.c))
RUNTIME_OBJECTS := $(RUNTIME_SOURCES:%.c=$(BUILD)/obj/%.o)
RUNTIME_LIBS = -ljansson -lseccomp -lnl-route-3 -lnl-3

$(RUNTIME_OBJECTS): CPPFLAGS += -isystem /usr/include/libnl3

$(BUILD)/bulkhead: $(RUNTIME_OBJECTS)
	@$(CC) $(CFLAGS) $(HARDEN) $(LDHARDEN) -o $@ $^ $(RUNTIME_LIBS)

-include $(RUNTIME_OBJECTS:.o=.d)
