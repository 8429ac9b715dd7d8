# bulkhead-unpack: a program of its own, so that libarchive and what it brings are in no other.

$(BUILD)/bulkhead-unpack: unpack/unpack.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) $(HARDEN) $(LDHARDEN) -o $@ $< -larchive
