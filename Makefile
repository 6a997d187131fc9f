# SPDX-License-Identifier: Apache-2.0
# The front door. Every target begins with tools/setup, so any of them can be run first.
#   make up                 build and start a node in the foreground
#   make test [T=PATTERN]   build and run every test (T narrows by CTest name)
#   make lint fmt           check / write the format; layers and static analysis
#   make bench-check        has the data path become more expensive? UPDATE=1 writes the baseline
.DEFAULT_GOAL := help
SHELL := /bin/sh
JOBS ?= $(shell nproc)
CI_FLAGS := $(if $(CI),-DFLX_WERROR=ON)
DESTDIR ?=
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 10
ROUNDS ?= 3000
UP_FLAGS ?=
BENCH_FLAGS ?=

.PHONY: help setup build up test lint fmt tsan fuzz cover demo soak bench bench-plot bench-check docs install \
	clean
help:
	@sed -n 's/^#   //p' Makefile
	@echo "also: build tsan fuzz cover demo soak bench bench-plot docs install clean"

setup:
	@tools/setup

build: setup
	@cmake --preset release $(CI_FLAGS) -DCMAKE_INSTALL_PREFIX=$(PREFIX) -DBUILD_TESTING=OFF >/dev/null
	@cmake --build build/release -j $(JOBS)

up: build
	@exec build/release/bin/felix up $(UP_FLAGS)

test: setup
	@cmake --preset dev $(CI_FLAGS) >/dev/null
	@cmake --build build/dev -j $(JOBS)
	@cd build/dev && { ctest --output-on-failure -j $(JOBS) $(if $(T),-R '$(T)'); status=$$?; \
		grep '^SKIPPED: ' Testing/Temporary/LastTest.log; exit $$status; }

lint: setup
	@tools/lint

fmt: setup
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs -r clang-format-14 -i

tsan: setup
	@cmake --preset tsan $(CI_FLAGS) >/dev/null
	@cmake --build build/tsan -j $(JOBS) --target threads_tests
	@cd build/tsan && ctest --output-on-failure -j $(JOBS) -L threads $(if $(T),-R '$(T)')

fuzz: setup
	@cmake --preset fuzz $(CI_FLAGS) >/dev/null
	@cmake --build build/fuzz -j $(JOBS) --target fuzz_targets
	@tools/fuzz build/fuzz/fuzz $(FUZZ_SECONDS)

cover: setup
	@cmake --preset cover $(CI_FLAGS) >/dev/null
	@cmake --build build/cover -j $(JOBS)
	@find build/cover -name '*.gcda' -delete
	@cd build/cover && ctest --output-on-failure -j $(JOBS) -LE interop
	@tools/cover build/cover

demo: build
	@tools/demo build/release/bin

# kill -9 by the thousand; tests/crash/README.md. SEED=... repeats the choices of an earlier run.
soak: build
	@build/release/bin/felix-crash --bin build/release/bin --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED))

bench: build
	@bench/run $(BENCH_FLAGS) build/release/bin $(BENCH)

# The charts of docs/performance.md, from the rows that were run last.
bench-plot:
	@bench/plot

bench-check: build
	@bench/check/run $(if $(UPDATE),--update) build/release/bin

docs: build
	@tools/docs build/release/bin

install: build
	@DESTDIR=$(DESTDIR) cmake --install build/release --prefix $(PREFIX) >/dev/null
	@echo "installed under $(DESTDIR)$(PREFIX)"

clean:
	@rm -rf build
