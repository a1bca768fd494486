# One command each, on a fresh Debian 12 with rustup, as root or with sudo. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# rustup's cargo comes first: /usr/bin/cargo (Debian) serves only the build of the kernel programs.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

# Seconds that `make fuzz` spends on each target.
FUZZ_SECONDS ?= 300

# Tests and the demo make network namespaces: cargo builds as you, and runs what it built as root.
ifneq ($(shell id -u),0)
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p' | tr a-z- A-Z_)
export CARGO_TARGET_$(HOST)_RUNNER := sudo -E
endif

.PHONY: help deps build demo test check bench fuzz

help: ## This list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 8

deps: ## Install what is missing to build, test and demonstrate
	@.ci/deps base

build: deps ## Build everything, kernel programs included, in release mode
	cargo build --workspace --release --locked

demo: build ## Three nodes in network namespaces, a firewall and a proxy, shown packet by packet
	cargo run --release --locked -p xsteer-bench --bin xsteer-demo

test: deps ## All tests: unit, property, golden, kernel programs, end to end
	cargo test --workspace --locked --no-fail-fast

check: deps ## Format, lints, licences and advisories, documentation
	@.ci/deps check
	cargo fmt --all --check
	@for crate in xdp/ebpf dataplane/fuzz control/fuzz; do \
	  echo "cargo fmt --manifest-path $$crate/Cargo.toml --check"; \
	  cargo fmt --manifest-path $$crate/Cargo.toml --check; \
	done
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@.ci/clippy-ebpf
	cargo deny --locked check licenses bans sources
	@if cargo deny fetch db; then \
	  cargo deny --locked check --disable-fetch advisories; \
	else \
	  echo "check: the advisory database is out of reach: advisories NOT checked" >&2; \
	fi
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

bench: deps ## Benchmarks
	cargo bench --locked -p xsteer-dataplane -p xsteer-bench --bench lpm --bench steer --bench worker

# RUSTC_BOOTSTRAP lets stable take the sanitizer flags, so that no nightly is needed.
fuzz: deps ## Fuzz each target for FUZZ_SECONDS
	@.ci/deps fuzz
	@for crate in dataplane control; do \
	  [ -f $$crate/fuzz/Cargo.toml ] || continue; \
	  cd $$crate; \
	  for target in $$(cargo fuzz list); do \
	    echo "fuzz: $$crate/$$target for $(FUZZ_SECONDS) s"; \
	    RUSTC_BOOTSTRAP=1 cargo fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS); \
	  done; \
	  cd ..; \
	done
