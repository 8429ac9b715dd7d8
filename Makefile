# Bulkhead: every Linux container in a VM of its own. `make help` lists what there is to ask for.

BUILD ?= build
CC ?= gcc
PREFIX ?= /usr/local

CPPFLAGS += -I. -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
CFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wvla -Wstrict-prototypes \
	   -Wmissing-prototypes -Wpointer-arith
HARDEN = -fstack-protector-strong -fPIE -D_FORTIFY_SOURCE=2
LDHARDEN = -pie -Wl,-z,relro,-z,now,-z,noexecstack
ifdef CI
WARNINGS += -Werror
endif

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

include kernel-config/kernel.mk
include tests/lab/lab.mk

.PHONY: help all deps check-format format sanitize test clean

help:
	@echo 'make             builds everything below $(BUILD)/'
	@echo 'make deps        installs the Debian packages that it needs'
	@echo 'make test        runs every test that this machine can run'
	@echo 'make sanitize    unit tests and fuzz corpora under ASan and UBSan'
	@echo 'make check-format / format   the code style'
	@echo "make lab CMD=''  runs a command in the lab (LAB=count: the instruction-counting one)"

PACKAGES = build-essential clang clang-format libclang-rt-14-dev flex bison bc libelf-dev libssl-dev \
	   xz-utils cpio rsync pkg-config linux-source-6.12 libfdt-dev libjansson-dev libseccomp-dev \
	   libcap-ng-dev liburing-dev check bats jq busybox-static erofs-utils e2fsprogs \
	   qemu-system-x86 qemu-system-common crun runc mmdebstrap umoci skopeo

deps:
	@missing=$$(for p in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'install ok' || echo $$p; done); \
	[ -z "$$missing" ] || { echo "installing:" $$missing; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends $$missing >/dev/null; }

all: $(BUILD)/guest/vmlinux

SOURCES = $(shell git ls-files -co --exclude-standard '*.c' '*.h')

check-format:
	@clang-format --dry-run -Werror $(SOURCES)

format:
	@clang-format -i $(SOURCES)

include tests/unit/unit.mk

test: unit-test
	@$(BUILD)/tests/unit

sanitize: $(BUILD)/sanitize/unit
	@$<

clean:
	rm -rf $(BUILD)
