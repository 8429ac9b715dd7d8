# $(BUILD)/guest/vmlinux, the guest's kernel. KERNEL_DEBUG=1 merges debug/ as well.
# The script runs every time and decides by a hash of the merged options, not by the age of files: it
# leaves the file alone, takes it from the cache, or builds it.

.PHONY: kernel kernel-always
kernel: $(BUILD)/guest/vmlinux

$(BUILD)/guest/vmlinux: kernel-always
	@kernel-config/build $@ $(BUILD)/linux $(if $(filter-out 0,$(KERNEL_DEBUG)),debug)
