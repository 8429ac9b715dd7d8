# Bulkhead: every Linux container in a VM of its own. `make help` lists what there is to ask for.

BUILD ?= build
CC ?= gcc
PREFIX ?= /usr/local

CPPFLAGS += -I. -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
CFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wvla -Wstrict-prototypes \
	   -Wmissing-prototypes -Wpointer-arith
# Checked on the binaries by tests/integration/wall.bats. (Debian 12's start files lack the mark that would switch on what
# -fcf-protection prepares; where the C library has it, it is on.)
HARDEN = -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -fPIE -D_FORTIFY_SOURCE=2
LDHARDEN = -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code
ifdef CI
WARNINGS += -Werror
endif

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

# Objects of what runs on the host; the agent's are made for size (agent.mk), the tests' without hardening.
$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) $(HARDEN) -MMD -MP -c -o $@ $<

include kernel-config/kernel.mk
include vmm/vmm.mk
include guest-agent/agent.mk
include runtime/runtime.mk
include unpack/unpack.mk
include tests/unit/unit.mk
include tests/payload/payload.mk
include tests/fuzz/fuzz.mk
include tests/lab/lab.mk
include bench/bench.mk

.PHONY: help all deps run fuzz install check-format format sanitize lint guards coverage soak test clean

all: $(BUILD)/bulkhead $(BUILD)/bulkhead-unpack $(BUILD)/bulkhead-vmm $(BUILD)/guest/vmlinux $(BUILD)/guest/initramfs.cpio

help:
	@echo 'make             builds everything below $(BUILD)/'
	@echo 'make deps        installs the Debian packages that it needs'
	@echo 'make run         deps, build, and a container in a VM of its own, to look at'
	@echo 'make test        runs every test that this machine can run'
	@echo 'make bench       run loop, queues, start-up, sizes, network, disks beside DPDK, crun, runc, QEMU, fio; BENCH_RUNS=10'
	@echo 'make fuzz SECONDS=60   each fuzzer for so long'
	@echo 'make install DESTDIR= PREFIX=/usr/local'
	@echo 'make sanitize    unit tests and fuzz corpora under ASan and UBSan'
	@echo 'make soak MINUTES=30   mixed containers on a host whose calls fail; then images and volumes of some GiB (the lab takes 12 GiB of memory); then 200 containers in a row, 20 at once, 100 ends at random moments: hours in the lab'
	@echo 'make lint        clang-tidy, cppcheck, gcc -fanalyzer'
	@echo 'make guards      whether each guard against a known attack has a test that fails without it: half an hour'
	@echo 'make coverage    lines of devices/, protocol/ and vmm/ that tests and corpora run'
	@echo 'make check-format / format   the code style'
	@echo "make lab CMD=''  runs a command in the lab (LAB=count: the instruction-counting one)"

PACKAGES = build-essential clang clang-format clang-tidy cppcheck strace libclang-rt-14-dev flex bison bc libelf-dev libssl-dev \
	   xz-utils cpio rsync pkg-config linux-source-6.12 libfdt-dev libjansson-dev libseccomp-dev \
	   libcap-ng-dev libnl-3-dev libnl-route-3-dev liburing-dev check bats jq busybox-static erofs-utils e2fsprogs \
	   qemu-system-x86 qemu-system-common crun runc mmdebstrap umoci skopeo libsystemd-dev \
	   podman netavark aardvark-dns containerd docker.io containernetworking-plugins iptables iproute2 iputils-ping iperf3 socat passt slirp4netns uidmap cryptsetup-bin libarchive-dev \
	   libdpdk-dev valgrind fio

deps:
	@missing=$$(for p in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'install ok' || echo $$p; done); \
	[ -z "$$missing" ] || { echo "installing:" $$missing; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends $$missing >/dev/null; }

run: deps
	@$(MAKE) --no-print-directory all
	@LAB_CPUS=2 tests/on-kvm tests/demo

SOURCES = $(shell git ls-files -co --exclude-standard '*.c' '*.h')

check-format:
	@clang-format --dry-run -Werror $(SOURCES)

format:
	@clang-format -i $(SOURCES)

test: all unit-test payload-build
	@tests/run

# First what goes on for MINUTES with faults, then large images and volumes, then the engines.
MINUTES ?= 30

soak: all unit-test
	@tests/debian-bundle $(BUILD)/tests/debian-bundle
	@LAB_TIMEOUT=36000 tests/on-kvm env SOAK_SEED=$${SOAK_SEED:-$$$$} SOAK_SECONDS=$$(($(MINUTES) * 60)) bats --timing tests/integration/faults.bats
	@LAB_TIMEOUT=36000 LAB_MEMORY=12288 tests/on-kvm env TREES_FILES=52000 TREES_MIB=1100 TREES_DEBIAN=1 DISKS_FILES=100000 DISKS_MIB=4096 \
		DISKS_OPERATIONS=20000 IMAGES_WIDE=200000 IMAGES_KILLS=60 bats --timing tests/integration/trees.bats tests/integration/disks.bats \
		tests/integration/images.bats
	@LAB_TIMEOUT=36000 tests/on-kvm env LIMIT=900 NET_MIB=512 NET_CONNECTIONS=1000 bats --timing tests/engines/network.bats
	@LAB_TIMEOUT=36000 tests/on-kvm env CRI_MTUS=1 bats --timing -f MTU tests/engines/cri-network.bats
	@LAB_TIMEOUT=36000 tests/on-kvm env LIMIT=900 NET_LARGE=2000 NET_SMALL=20000 bats --timing -f "messages and datagrams" tests/integration/network.bats
	@LAB_TIMEOUT=36000 tests/on-kvm env SOAK_ROW=200 SOAK_ONCE=20 SOAK_KILLS=100 bats --timing tests/engines/soak.bats
	@LAB_TIMEOUT=36000 tests/on-kvm env CHECKPOINT_ROUNDS=50 bats --timing -f 'time and again' tests/integration/checkpoint.bats
	@LAB_TIMEOUT=36000 tests/on-kvm env TEMPLATE_ROW=1000 TEMPLATE_ONCE=50 bats --timing -f 'many starts' tests/integration/template.bats

sanitize: $(BUILD)/sanitize/unit $(BUILD)/sanitize/payload fuzz-replay
	@$<
	@CK_RUN_SUITE=attack $(BUILD)/sanitize/payload

lint: $(BUILD)/gen/filter_programs.h
	@tests/lint

guards: all unit-test
	@tests/guards

# Unit tests, payload guests and corpora together: what of the guest's side of the wall they run.
coverage: $(BUILD)/gen/filter_programs.h $(BUILD)/tests/payload
	@tests/coverage

# For bundles: nothing of the host's is in them.
TEST_TOOLS = $(patsubst tests/tools/%.c,$(BUILD)/tests/%,$(wildcard tests/tools/*.c))

$(TEST_TOOLS): $(BUILD)/tests/%: tests/tools/%.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) -O2 -static $(WARNINGS) -o $@ $<

unit-test: $(TEST_TOOLS)

install: all
	@install -D -m 0755 $(BUILD)/bulkhead $(DESTDIR)$(PREFIX)/bin/bulkhead
	@install -D -m 0755 $(BUILD)/bulkhead-vmm $(DESTDIR)$(PREFIX)/libexec/bulkhead/bulkhead-vmm
	@install -D -m 0755 $(BUILD)/bulkhead-unpack $(DESTDIR)$(PREFIX)/libexec/bulkhead/bulkhead-unpack
	@install -D -m 0644 -t $(DESTDIR)$(PREFIX)/libexec/bulkhead \
		$(BUILD)/guest/vmlinux $(BUILD)/guest/initramfs.cpio
	@install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man5 docs/man/*.5
	@install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man8 docs/man/*.8

clean:
	rm -rf $(BUILD)
