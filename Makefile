# make demo · make test · make check · make bench · make faults · make fuzz · make packages
#
# Each target does its own set-up and says what it does. Build output goes to CARGO_TARGET_DIR when that is set.

SHELL := /bin/bash
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
COMPONENTS := $(TARGET)/release/guests/components
TIDEGATE := $(TARGET)/release/tidegate
WAREHOUSE_CACHE := $(if $(TIDEGATE_WAREHOUSE_CACHE),$(TIDEGATE_WAREHOUSE_CACHE),$(HOME)/.cache/tidegate/warehouses)
STREAM_CACHE := $(if $(TIDEGATE_STREAM_CACHE),$(TIDEGATE_STREAM_CACHE),$(HOME)/.cache/tidegate/streams)
SDK_CACHE := $(if $(TIDEGATE_SDK_CACHE),$(TIDEGATE_SDK_CACHE),$(HOME)/.cache/tidegate/sdk)

# Our own crates without optimisation, most of them: tests/profile.toml says why.
TESTED := cargo test --config tests/profile.toml --release --locked
# A third of their time tests wait for servers that they have started.
export RUST_TEST_THREADS ?= $(shell echo $$(($$(nproc) + 1)))

.PHONY: help demo test check quick bench faults fuzz release packages deny components plugins build setup

help:
	@echo "make demo    the main job from end to end: events in over HTTP, tables out (DEMO_ARGS= to stay up)"
	@echo "make test    all tests, real SDKs included"
	@echo "make check   format, lints, docs"
	@echo "make quick   quick builds while working on it: our own crates without optimisation (OFF=1 ends it)"
	@echo "make release the binary for other machines, at most 70 MB; names and line tables in a file beside it"
	@echo "make packages  archive, wheel, npm, Debian package, image, chart and bill of materials of it, each installed and tried"
	@echo "make plugins the shipped destinations as components, and what runs scripts of the console"
	@echo "make bench   speed, as ratios measured in one run (LONG=1: also 32 syncs, 400 columns, 50 million ids and events)"
	@echo "make faults  an hour of kills, power cuts, failed disks, damage and unknown clients (MINUTES= SEEDS= CYCLES= SEED=)"
	@echo "make fuzz    random bytes for the JSON scanner, the door, the log, manifests and YAML (FUZZ_SECONDS= each)"

# A linker for Rust, and the WebAssembly target for the functions.
setup:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust from https://rustup.rs"; exit 1; }
	@command -v cc >/dev/null || if [ "$$(id -u)" = 0 ]; then \
	  echo "== installing a C compiler (apt-get)"; apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev; \
	  else echo "a C compiler is missing: sudo apt-get install gcc libc6-dev"; exit 1; fi
	@if command -v rustup >/dev/null; then \
	  channel=$$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml); \
	  rustup toolchain list | grep -q "^$$channel" || { echo "== installing Rust $$channel"; rustup toolchain install "$$channel" --profile minimal -c rustfmt -c clippy; }; \
	  rustup target list --installed | grep -q '^wasm32-unknown-unknown$$' || { echo "== installing the WebAssembly target"; rustup target add wasm32-unknown-unknown; }; fi

build: setup
	@echo "== building tidegate (the first build takes several minutes: it compiles a WebAssembly engine and SQLite)"
	cargo build --release --locked

# Programs find names and line tables by the link and the folder that they share; without that file a backtrace has addresses alone.
# Cargo has its profile `dist` in $(TARGET)/dist.
SHIPPED := $(TARGET)/shipped
# 70 MB: packed, with the plugins, it stays under the 60 MB that a package may have.
BINARY_BYTES_MAX := 70000000
release: setup
	@echo "== building tidegate for other machines (a profile of its own: small, and much longer to build)"
	cargo build --profile dist --locked
	@echo "== the binary without names and line tables, which go into a file beside it"
	@mkdir -p $(SHIPPED)
	objcopy --only-keep-debug --compress-debug-sections=zlib $(TARGET)/dist/tidegate $(SHIPPED)/tidegate.debug
	objcopy --strip-all --add-gnu-debuglink=$(SHIPPED)/tidegate.debug $(TARGET)/dist/tidegate $(SHIPPED)/tidegate
	@ls -lh $(SHIPPED)/tidegate $(SHIPPED)/tidegate.debug
	@bytes=$$(stat -c %s $(SHIPPED)/tidegate); test $$bytes -le $(BINARY_BYTES_MAX) || \
	  { echo "the binary has $$bytes bytes, and may have $(BINARY_BYTES_MAX): see what became larger, or leave something out"; exit 1; }

# They carry the shipped destinations when `make plugins` has built them.
packages: release
	@echo "== packing $(SHIPPED)/tidegate into $(SHIPPED)/packages"
	packaging/all $(abspath $(SHIPPED))/tidegate $(abspath $(SHIPPED))/packages
	@echo "== installing each of them into an empty folder"
	tests/packaging/run $(abspath $(SHIPPED))/tidegate $(abspath $(SHIPPED))/packages
	@echo "== the proxies of examples/ before a server (nginx and Caddy, where they are here)"
	tests/proxies/run $(abspath $(SHIPPED))/tidegate

components: build
	@echo "== building the functions into WebAssembly components"
	@mkdir -p $(COMPONENTS)
	@for f in redact-pii utm-referrer; do \
	  CARGO_TARGET_DIR=$(abspath $(TARGET))/release/guests $(TIDEGATE) function build functions/transform/$$f --out $(COMPONENTS)/$$f.component.wasm || exit 1; done

# The shipped destinations beside the program, where `tidegate destination add` finds them.
plugins: build
	@echo "== building the shipped destinations (their languages' tools are installed at first)"
	@mkdir -p $(TARGET)/release/plugins
	@for f in functions/destination/*/plugin.yaml; do d=$$(dirname $$f); \
	  CARGO_TARGET_DIR=$(abspath $(TARGET))/release/guests $(TIDEGATE) destination build $$d --out $(TARGET)/release/plugins/$$(basename $$d).component.wasm || exit 1; done
	@echo "== building what runs scripts of the web console"
	@$(TIDEGATE) function build functions/transform/script --out $(TARGET)/release/plugins/script.component.wasm

DEMO_ARGS ?= --once
demo: components
	@client=; if command -v node >/dev/null && command -v npm >/dev/null; then \
	  echo "== installing a real SDK for the demo (npm @segment/analytics-node)"; \
	  TIDEGATE_SDK_CACHE=$(SDK_CACHE) tests/sdk/setup node && client="--client tests/sdk/segment-node/run"; fi; \
	echo "== running the demo"; \
	TIDEGATE_SDK_CACHE=$(SDK_CACHE) $(TIDEGATE) demo $(DEMO_ARGS) --components $(COMPONENTS) --log warn $$client

test: setup
	@echo "== installing the real SDKs of the tests (npm, PyPI, Go, Maven; Chromium, slowhttptest and Prometheus by apt-get when root)"
	@mkdir -p $(TARGET); set -o pipefail; TIDEGATE_SDK_CACHE=$(SDK_CACHE) tests/sdk/setup | tee $(TARGET)/sdk-setup.log
	@echo "== installing the warehouses of the tests, and engines that read them back (apt-get when root; PyPI)"
	@set -o pipefail; TIDEGATE_WAREHOUSE_CACHE=$(WAREHOUSE_CACHE) tests/warehouses/setup | tee $(TARGET)/warehouse-setup.log
	@echo "== installing the streams of the tests: Kafka's brokers, another client of them, a double of Pub/Sub (Maven, PyPI, Go; Java by apt-get when root)"
	@set -o pipefail; TIDEGATE_STREAM_CACHE=$(STREAM_CACHE) tests/streams/setup | tee $(TARGET)/stream-setup.log
	@echo "== targets of other toolchains, whose components the tests pack (rustup)"
	@if command -v rustup >/dev/null; then rustup target add wasm32-wasip1 wasm32-wasip2 || true; fi
	@echo "== tests of the SDKs and of the guests, natively"
	@if command -v node >/dev/null; then node --test sdk/js/tests/*.test.mjs functions/transform/script/tests/*.test.mjs crates/source/browser/*.test.mjs; fi
	cargo test --locked --manifest-path sdk/rust/Cargo.toml --target-dir $(TARGET)/release/guests -q
	cargo test --locked --manifest-path functions/Cargo.toml --target-dir $(TARGET)/release/guests -q
	@if command -v go >/dev/null; then for p in sdk/go functions/destination/ga4/measure functions/destination/meta-capi/conversions; do \
	  (cd $$p && go test .) || exit 1; done; fi
	@if command -v python3 >/dev/null; then python3 -m unittest discover sdk/python/tests; fi
	sdk/c/test
	@echo "== tests (the first build takes several minutes)"
	@rm -f $(TARGET)/skipped.log
	TIDEGATE_SDK_CACHE=$(SDK_CACHE) TIDEGATE_WAREHOUSE_CACHE=$(WAREHOUSE_CACHE) TIDEGATE_STREAM_CACHE=$(STREAM_CACHE) $(TESTED) --workspace --exclude tidegate-fuzz --features failpoints --no-fail-fast --lib --bins --test it
	@echo "== faults, the short form: kills, a soak, floods of unknown clients, a noisy key, mutated modules, changes and applies under kills, streams, a quarantine that is retried, a replay, somebody forgotten (make faults runs them for an hour)"
	TIDEGATE_WAREHOUSE_CACHE=$(WAREHOUSE_CACHE) TIDEGATE_STREAM_CACHE=$(STREAM_CACHE) $(TESTED) --features failpoints --test faults -- --short
	@echo "== plugins in every language: time of the build, size, speed"
	@cat $(TARGET)/author.log
	@cat $(TARGET)/sdk-setup.log $(TARGET)/warehouse-setup.log $(TARGET)/stream-setup.log $(TARGET)/skipped.log 2>/dev/null | grep '^skipped' || echo "nothing was skipped"

check: setup deny
	cargo fmt --check
	cargo fmt --check --all --manifest-path functions/Cargo.toml
	cargo fmt --check --manifest-path sdk/rust/Cargo.toml
	cargo clippy --release --locked --workspace --all-targets --features failpoints -- -D warnings

# Overrides for each crate by name: one for all of them would also reach build scripts, and every library would be built anew.
quick:
	@mkdir -p .cargo; rm -f .cargo/config.toml; if [ -z "$(OFF)" ]; then \
	  { printf '[profile.release]\nincremental = true\n'; \
	  for c in tidegate $$(ls crates | sed 's/^/tidegate-/'); do printf '[profile.release.package.%s]\nopt-level = 0\n' $$c; done; } > .cargo/config.toml; \
	  echo "our crates are compiled without optimisation from now on; make quick OFF=1 ends it"; \
	  else echo "our crates are compiled with optimisation again"; fi

bench: setup components
	cargo bench --locked --bench intake_append --bench contract_judge --bench row_encode --bench function_call -- --quick
	cargo bench --locked --bench dedup_index
	cargo bench --locked --bench neighbours
	cargo bench --locked --bench catalog -- $(if $(LONG),,--quick)
	TIDEGATE_WAREHOUSE_CACHE=$(WAREHOUSE_CACHE) tests/warehouses/setup postgres clickhouse lake
	cargo bench --locked --bench postgres_load
	TIDEGATE_WAREHOUSE_CACHE=$(WAREHOUSE_CACHE) cargo bench --locked --bench clickhouse_load
	TIDEGATE_WAREHOUSE_CACHE=$(WAREHOUSE_CACHE) cargo bench --locked --bench lake_write
	@TIDEGATE_STREAM_CACHE=$(STREAM_CACHE) tests/streams/setup kafka client
	TIDEGATE_STREAM_CACHE=$(STREAM_CACHE) cargo bench --locked --bench kafka_to_log
	@if command -v npm >/dev/null; then CARGO_TARGET_DIR=$(abspath $(TARGET))/release/guests $(TIDEGATE) function build functions/bench/rewrite-js --out $(COMPONENTS)/rewrite-js.component.wasm; fi
	@CARGO_TARGET_DIR=$(abspath $(TARGET))/release/guests $(TIDEGATE) destination build functions/destination/webhook --out $(COMPONENTS)/webhook.component.wasm
	TIDEGATE_WAREHOUSE_CACHE=$(WAREHOUSE_CACHE) cargo bench --locked --bench end_to_end -- --webhook $(abspath $(COMPONENTS))/webhook.component.wasm \
	  --chain $(abspath $(COMPONENTS))/utm-referrer.component.wasm $(if $(LONG),--long) $$(test -f $(COMPONENTS)/rewrite-js.component.wasm && echo --function $(abspath $(COMPONENTS))/rewrite-js.component.wasm)
	cargo bench --locked --bench trace -- --events $(if $(LONG),50000000,2000000)
	cargo bench --locked --features failpoints --bench fates

# How long, how often. The seed is printed, and a run with the same seed has the same schedule. The power cuts take the seeds
# from SEED on, or from 0.
MINUTES ?= 20
SEEDS ?= 1000
CYCLES ?= 500
MODULES ?= 1000000
EXAMPLES ?= 2000
CHANGES ?= 500
APPLIES ?= 100
STREAM_KILLS ?= 100
QUARANTINED ?= 100000
REPLAYED ?= 1000000
FORGOTTEN ?= 1000000
SEED ?=
faults: setup
	@echo "== power cuts ($(SEEDS) seeds), every failed operation and every flipped bit, on a simulated disk; every byte of state.db"
	$(if $(SEED),TIDEGATE_FAULT_SEED=$(SEED)) TIDEGATE_FAULT_SEEDS=$(SEEDS) TIDEGATE_FLIPS=all $(TESTED) --features failpoints -p tidegate -p tidegate-log -p tidegate-state --lib
	@echo "== a real server on a state.db and a warehouse.db with a flipped bit, 500 times each"
	TIDEGATE_FLIPS=all $(TESTED) --features failpoints --test it reliability::flips -- --nocapture
	@echo "== the admin API, asked what its document describes and what it does not: $(EXAMPLES) tries for each operation"
	@TIDEGATE_SDK_CACHE=$(SDK_CACHE) tests/sdk/setup python
	TIDEGATE_SDK_CACHE=$(SDK_CACHE) TIDEGATE_FUZZ_EXAMPLES=$(EXAMPLES) $(TESTED) --features failpoints --test it fuzzer
	@echo "== a real server: $(CYCLES) kills, $(MINUTES) minutes of random faults, $(MINUTES) minutes of none, unknown clients, a noisy key, $(MODULES) modules, $(CHANGES) changes, $(APPLIES) applies, $(STREAM_KILLS) kills among streams, $(QUARANTINED) events retried, $(REPLAYED) replayed, $(FORGOTTEN) among which somebody is forgotten"
	TIDEGATE_WAREHOUSE_CACHE=$(WAREHOUSE_CACHE) tests/warehouses/setup postgres clickhouse lake
	@TIDEGATE_STREAM_CACHE=$(STREAM_CACHE) tests/streams/setup kafka client
	TIDEGATE_WAREHOUSE_CACHE=$(WAREHOUSE_CACHE) TIDEGATE_STREAM_CACHE=$(STREAM_CACHE) $(TESTED) --features failpoints --test faults -- \
	  --minutes $(MINUTES) --cycles $(CYCLES) --modules $(MODULES) --changes $(CHANGES) --applies $(APPLIES) --stream-kills $(STREAM_KILLS) \
	  --quarantined $(QUARANTINED) --replayed $(REPLAYED) --forgotten $(FORGOTTEN) $(if $(SEED),--seed $(SEED))

FUZZ_TARGETS := json door frames manifest yaml
FUZZ_SECONDS ?= 60
# libFuzzer needs the nightly compiler; what it found stays in fuzz/artifacts, what it learned in fuzz/corpus. The logs that it
# damages lie in memory: on a disk each try would wait for its syncs.
fuzz: setup
	@command -v rustup >/dev/null || { echo "rustup is missing: the fuzzer needs a nightly toolchain"; exit 1; }
	@rustup toolchain list | grep -q '^nightly' || { echo "== installing the nightly toolchain"; rustup toolchain install nightly --profile minimal; }
	@test -x $(TARGET)/tools/bin/cargo-fuzz || { echo "== building cargo-fuzz"; cargo install --quiet --locked --root $(TARGET)/tools cargo-fuzz@0.13.2; }
	@for target in $(FUZZ_TARGETS); do \
	  echo "== fuzzing $$target for $(FUZZ_SECONDS) s"; \
	  TMPDIR=$$(test -d /dev/shm && echo /dev/shm || echo /tmp) CARGO_TARGET_DIR=$(TARGET)/fuzz RUSTUP_TOOLCHAIN=nightly \
	  $(TARGET)/tools/bin/cargo-fuzz run --sanitizer none $$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 || exit 1; done

DENY_VERSION := 0.20.2
# Licences, sources and bans; known vulnerabilities where their database can be fetched.
deny: setup
	@test -x $(TARGET)/tools/bin/cargo-deny || { echo "== building cargo-deny (some minutes, once)"; cargo install --quiet --locked --debug --root $(TARGET)/tools cargo-deny@$(DENY_VERSION); }
	$(TARGET)/tools/bin/cargo-deny --locked check bans licenses sources
	@if $(TARGET)/tools/bin/cargo-deny --locked --log-level off fetch db; then $(TARGET)/tools/bin/cargo-deny --locked check --disable-fetch advisories; \
	  else echo "skipped known vulnerabilities: the database of advisories cannot be fetched from here"; fi
