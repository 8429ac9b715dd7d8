# bulkhead, the OCI command line.

RUNTIME_SOURCES := $(sort $(wildcard runtime/*.c) $(wildcard protocol/*.c) $(wildcard common/*.c))
RUNTIME_OBJECTS := $(RUNTIME_SOURCES:%.c=$(BUILD)/obj/%.o)
# All but the C library, which a static program could not look users up with: each shared one would take a third of a
# millisecond of every start.
RUNTIME_LIBS = -Wl,-Bstatic -ljansson -lseccomp -lcrypto -lnl-route-3 -lnl-3 -Wl,-Bdynamic

$(RUNTIME_OBJECTS): CPPFLAGS += -isystem /usr/include/libnl3

$(BUILD)/bulkhead: $(RUNTIME_OBJECTS)
	@$(CC) $(CFLAGS) $(HARDEN) $(LDHARDEN) -o $@ $^ $(RUNTIME_LIBS)

-include $(RUNTIME_OBJECTS:.o=.d)
