# What a newcomer, a developer and CI call. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

MACHINE := $(shell uname -m)
TARGET := $(MACHINE)-unknown-linux-musl
OTHER_TARGET := $(if $(filter aarch64,$(MACHINE)),x86_64,aarch64)-unknown-linux-gnu
PREFIX ?= /usr/local
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
export CARGO_BUILD_TARGET := $(TARGET)
export LIBSECCOMP_LINK_TYPE := static
export LIBSECCOMP_LIB_PATH := $(CURDIR)/target/native

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

# ---- build ----------------------------------------------------------------------------------------

# A compiler, libseccomp.a and Rust's musl target: what the static link needs.
.PHONY: build-tools
build-tools:
	@scripts/need gcc pkg-config /usr/include/seccomp.h:libseccomp-dev
	@command -v rustup >/dev/null && { rustup target list --installed | grep -qx $(TARGET) || { \
		echo "casulo: adding Rust's target $(TARGET)"; rustup target add $(TARGET); }; } || true

# The archive alone: the system's own directory would bring glibc's libc.a into the link.
target/native/libseccomp.a: | build-tools
	@mkdir -p target/native
	cp "$$(gcc -print-file-name=libseccomp.a)" $@

.PHONY: native-libs
native-libs: build-tools target/native/libseccomp.a

release = $(if $(COMMIT),CASULO_COMMIT=$(COMMIT)) cargo build --release --bin casulo

# Flags in place of those of .cargo/config.toml, so in a directory of its own.
pie = RUSTFLAGS="-C relocation-model=pie -C symbol-mangling-version=v0"

.PHONY: build
ifeq ($(PIE),1)
build: native-libs
	$(pie) $(release) --target-dir target/pie
	@mkdir -p bin
	@install -m 755 target/pie/$(TARGET)/release/casulo bin/casulo
else
build: native-libs ## the release binary: bin/casulo, static and stripped; PIE=1 for a position-independent one
	$(release)
	@mkdir -p bin
	@install -m 755 target/$(TARGET)/release/casulo bin/casulo
endif

# The position-independent one for the tests: without the slow link.
.PHONY: pie-build
pie-build: native-libs
	$(pie) cargo build --quiet --profile quick --bin casulo --target-dir target/pie
	@mkdir -p bin
	@install -m 755 target/pie/$(TARGET)/quick/casulo bin/casulo-pie

# The test build, whose defences can be taken out and whose steps can be made to fail: for the tests alone.
.PHONY: test-build
test-build: native-libs
	cargo build --quiet --profile testing --features testing --bin casulo
	@mkdir -p bin
	@install -m 755 target/$(TARGET)/testing/casulo bin/casulo-testing

.PHONY: run
run: build ## build everything and run the sample bundle
	@scripts/need busybox:busybox-static
	@scripts/hello

.PHONY: install
install: build ## binary, man pages and completions, below DESTDIR and PREFIX
	install -D -m 755 bin/casulo $(DESTDIR)$(PREFIX)/bin/casulo
	install -d $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 644 man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	bin/casulo completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/casulo
	bin/casulo completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_casulo
	bin/casulo completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/casulo.fish

.PHONY: hot-functions
hot-functions: native-libs ## link/hot: which functions lie together, when those of a container's life have changed much
	scripts/hot-functions

.PHONY: man
man: native-libs ## the man pages, from the command line's own description
	@rm -rf man && mkdir -p man
	cargo run --quiet --package casulo-man -- man

# ---- check ----------------------------------------------------------------------------------------

.PHONY: check
check: native-libs ## format, lints, documentation, the design's rules, dependencies, the other architecture, the oldest Rust
	@command -v rustup >/dev/null && { rustup component add rustfmt clippy 2>/dev/null; \
		rustup target list --installed | grep -qx $(OTHER_TARGET) || rustup target add $(OTHER_TARGET); } || true
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --quiet --no-deps --document-private-items
	cargo check --quiet --target $(OTHER_TARGET) --lib
	scripts/msrv
	scripts/lint
	@scripts/need jq
	scripts/deny
	@rm -rf target/man && mkdir -p target/man
	cargo run --quiet --package casulo-man -- target/man
	diff -r man target/man || { echo "casulo: the man pages are out of date: make man"; exit 1; }

# What nobody here can run is at least compiled. For the words of these machines: src/binary/landing/raw, src/seccomp/arch.rs.
OTHER_MACHINES := s390x-unknown-linux-gnu powerpc64le-unknown-linux-gnu riscv64gc-unknown-linux-gnu \
	armv7-unknown-linux-gnueabihf

.PHONY: machines
machines: native-libs ## the runtime compiled for s390x, ppc64le, riscv64 and armv7; nothing is run
	@for target in $(OTHER_MACHINES); do \
		! command -v rustup >/dev/null || rustup target list --installed | grep -qx $$target || rustup target add $$target; \
		echo "$$target"; RUSTFLAGS="-D warnings" cargo check --quiet --target-dir target/machines --target $$target --lib; \
	done

# ---- test -----------------------------------------------------------------------------------------

.PHONY: test-tools
test-tools:
	@scripts/need busybox:busybox-static jq setpriv:util-linux newuidmap:uidmap podman crun runc chromium \
		gcc musl-gcc:musl-tools strace

.PHONY: test
test: build test-build pie-build test-tools ## all tests: as an ordinary user, as root, and in the test host
	scripts/test

.PHONY: integration
integration: build test-build test-tools ## the integration tests on this machine; FILTER=text picks some
	@exe=$$(cargo test --no-run --package casulo-integration --message-format=json 2>/dev/null | \
		jq -r 'select(.executable != null and .target.name == "integration") | .executable'); \
	CASULO=$${CASULO:-$(CURDIR)/bin/casulo} CASULO_TESTING=$(CURDIR)/bin/casulo-testing \
	CASULO_PIE=$(CURDIR)/bin/casulo-pie "$$exe" $(FILTER)

.PHONY: compare
compare: test-tools native-libs ## the integration tests against another runtime: RUNTIME=/usr/sbin/runc
	@$(MAKE) --no-print-directory integration CASULO=$(RUNTIME)

.PHONY: zoo-compare
zoo-compare: build test-build test-tools ## the attacks of integration/hostile against casulo, crun and runc: a table
	scripts/zoo-compare $(FILTER)

.PHONY: cycles
cycles: build test-tools ## 200 containers in the test host, half with the runtime killed; N=number, SEED=number
	scripts/cycles $(or $(N),200)

.PHONY: kills
kills: build test-tools ## 500 containers on this machine, the runtime or its child killed at random; N=number, SEED=number
	@scripts/load kills $(or $(N),500)

.PHONY: load
load: build test-tools ## 1000 containers, 16 at a time, with a table of what they took and what the host has in use; N=number
	@scripts/load many $(or $(N),1000)

.PHONY: soak
soak: build test-tools ## containers at a bounded rate for 30 minutes, with the same table; MINUTES=number, RATE=per second
	@scripts/load soak $(or $(MINUTES),30) $(or $(RATE),5)

.PHONY: testhost
testhost: ## build the virtual machine that `make test` boots (once; MIRROR=url where this is not Debian)
	@integration/testhost/build

.PHONY: engines
engines: build ## Podman, Docker, containerd and CRI in the test host with casulo, crun and runc; ENGINES="podman" picks
	integration/engines/run $(ENGINES)

.PHONY: conformance
conformance: build ## crun's own tests against crun and casulo, in the test host
	integration/conformance/run

.PHONY: fuzz
fuzz: native-libs ## fuzz one of fuzz/fuzz_targets: TARGET=config SECONDS=60
	@scripts/need g++
	scripts/fuzz $(TARGET) $(or $(SECONDS),60)

.PHONY: mutants
mutants: native-libs test-tools ## single changes of the program that no test notices: FILES="src/init.rs", N=number, SEED=number, MINUTES=number
	@scripts/need jq patch findmnt:util-linux
	@scripts/mutants $(FILES)

# ---- bench ----------------------------------------------------------------------------------------

.PHONY: bench
bench: build ## what isolation gives and costs, and a start: tables and target/bench/bench.html; ARGS=--quick
	@scripts/need crun runc gcc musl-gcc:musl-tools strace jq unshare:util-linux
	@scripts/bench $(ARGS)
