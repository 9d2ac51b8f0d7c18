# Everything that a person or a machine does with this project, one word each; `make` alone lists them.

SHELL := /bin/bash
# rustup's cargo, where a login shell would find it and make does not.
export PATH := $(HOME)/.cargo/bin:$(PATH)
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help setup run test fuzz demo bench deb

help:
	@echo 'make run    set up what is missing, build, watch this host (Ctrl-C ends it)'
	@echo 'make test   set up what is missing, then every test'
	@echo 'make fuzz   looks for input that a parser cannot stand, FUZZ_SECONDS=30 for each'
	@echo 'make demo   a leak on this machine, in a sandbox, from first read to alert'
	@echo 'make bench  the numbers, with the machine named'
	@echo 'make deb    a Debian package in target/deb/'
	@echo 'make setup  only set up what is missing, for building and for testing'

setup:
	@packaging/setup.sh build test

target/release/jaga: FORCE
	@packaging/setup.sh build
	cargo build --release --locked -p jaga --bin jaga

# `check` says what each sensor sees and does not see; what it finds wanting does not stop the watch.
run: target/release/jaga
	@echo
	@$(SUDO) target/release/jaga check || true
	@echo
	@echo 'metrics: curl -s http://127.0.0.1:9977/metrics   (Ctrl-C ends the watch)'
	@$(SUDO) target/release/jaga run

demo: target/release/jaga
	@$(SUDO) target/release/jaga demo

test:
	@packaging/setup.sh build test
	@tests/run.sh

# Coverage-guided; what it found before is replayed by `make test`.
fuzz:
	@packaging/setup.sh build
	@tests/fuzz.sh

bench:
	@packaging/setup.sh build test bench
	@echo "machine: $$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $$(nproc) cores, Linux $$(uname -r)"
	cargo build --release --locked -p jaga --bin jaga
	cargo bench --locked --workspace --benches

deb: target/release/jaga
	@packaging/deb/build.sh target/release/jaga target/deb

FORCE:
