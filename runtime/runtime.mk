# bulkhead, the OCI command line.

RUNTIME_SOURCES := $(sort $(wildcard runtime/*.c) $(wildcard protocol/*.c) $(wildcard common/*.c))
RUNTIME_OBJECTS := $(RUNTIME_SOURCES:%.c=$(BUILD)/obj/%.o)
# libcrypto for SHA-256 alone; shared it would take a millisecond of every start.
RUNTIME_LIBS = -ljansson -lseccomp -l:libcrypto.a -lnl-route-3 -lnl-3

$(RUNTIME_OBJECTS): CPPFLAGS += -isystem /usr/include/libnl3

$(BUILD)/bulkhead: $(RUNTIME_OBJECTS)
	@$(CC) $(CFLAGS) $(HARDEN) $(LDHARDEN) -o $@ $^ $(RUNTIME_LIBS)

-include $(RUNTIME_OBJECTS:.o=.d)
