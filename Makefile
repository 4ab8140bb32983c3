# make            builds bin/build, bin/run, bin/copy, bin/trimaran-runtime
# make demo       shows the whole job on this machine, without a registry account
# make test       sets up what the tests need, then runs every check
# make test-vm    runs container tests on cgroup v2 with all controllers, in a virtual machine (QEMU without KVM; STEPS="containers")
# make fuzz       runs the fuzz targets, each for a minute (FUZZ_SECONDS=N, TARGETS="reference manifest")
# make soak       copies 500 images through random faults and compares both ends (SOAK_IMAGES=N, SOAK_SEED=N)
# make bench      measures beside the peers that are installed, writes docs/benchmarks.md
# make install    PREFIX=/usr/local DESTDIR= PROGRAM_PREFIX=

SHELL := /bin/bash
PREFIX ?= /usr/local
DESTDIR ?=
PROGRAM_PREFIX ?=

HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# Static binaries: the target is named explicitly, or build scripts and macros would be static too and fail to load.
# STATIC=0 builds ordinary, dynamically linked ones.
STATIC ?= 1
ifeq ($(STATIC),1)
RELEASE_ENV := RUSTFLAGS="$(RUSTFLAGS) -C target-feature=+crt-static" OPENSSL_STATIC=1
else
RELEASE_ENV :=
endif
RELEASE_DIR := $(TARGET_DIR)/$(HOST)/release
TOOLS := build run copy

.PHONY: all tools install uninstall demo test test-vm test-quick soak fuzz bench clean setup
all: tools

tools:
	$(RELEASE_ENV) cargo build --release --locked --target $(HOST) -p trimaran-build -p trimaran-run -p trimaran-copy
	@mkdir -p bin
	@for t in $(TOOLS); do cp -f $(RELEASE_DIR)/trimaran-$$t bin/.$$t.new && mv -f bin/.$$t.new bin/$$t || exit 1; done
	@cp -f $(RELEASE_DIR)/trimaran-runtime bin/.runtime.new && mv -f bin/.runtime.new bin/trimaran-runtime
	@ls -l bin/build bin/run bin/copy bin/trimaran-runtime

# Man pages and completions come out of the binaries: the same definitions as their help texts.
install: tools
	@scripts/install.sh "$(DESTDIR)" "$(PREFIX)" "$(PROGRAM_PREFIX)"

uninstall:
	@scripts/install.sh --remove "$(DESTDIR)" "$(PREFIX)" "$(PROGRAM_PREFIX)"

setup:
	@scripts/setup.sh test

demo:
	@scripts/demo.sh

test:
	@scripts/test.sh

test-vm:
	@scripts/vm.sh $(STEPS)

SOAK_IMAGES ?= 500
soak:
	SOAK_IMAGES=$(SOAK_IMAGES) cargo test --locked -p libimage --test it -- --nocapture soak

fuzz:
	@scripts/fuzz.sh $(TARGETS)

bench: tools
	@scripts/setup.sh bench
	@python3 scripts/bench.py

clean:
	cargo clean
	rm -rf bin
