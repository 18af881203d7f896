# The commands of this project; `make` alone prints them. Scripts under tools/ do the work, so that each also runs without make.

SHELL := /bin/sh
.SHELLFLAGS := -euc
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-dev reference reference-if-go upstream setup-cluster check test test-unit test-kernel test-lab cluster mutants demo bench image clean

# The same words whatever the caller's locale; the system programs where a plain `su` leaves them out of the PATH.
export LC_ALL := C
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
unexport NODE_OPTIONS NODE_TEST_CONTEXT CDPATH

# Said where setup was asked for by name; a comma in place would end the $(if).
ready := ready: make demo shows what Fairlead does, make test tests it

help: ## print this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)$$/make \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-18s %s\n' "$$name" "$$text"; done

setup: ## make this machine ready: check it, install packages and Node modules, build the native code
	@tools/machine.sh run
	@tools/machine.sh modules
	@umask 022; $(MAKE) --no-print-directory -s -C native
	@$(if $(filter setup,$(MAKECMDGOALS)),echo "$(ready)")

setup-dev: ## the same, with what the tests need
	@tools/machine.sh dev
	@tools/machine.sh modules
	@umask 022; $(MAKE) --no-print-directory -s -C native

setup-cluster:
	@tools/machine.sh cluster
	@tools/machine.sh modules
	@umask 022; $(MAKE) --no-print-directory -s -C native

reference: ## build cnitool and the reference plugins, which bench and tests run (Go)
	@test/reference/build.sh

upstream: setup-cluster ## build Kubernetes, etcd, containerd, runc and CoreDNS, for make cluster (Go, ten minutes once)
	@test/upstream/build.sh

# Tests that need them are skipped without, and say so.
reference-if-go:
	@test/reference/build.sh || [ $$? -eq 3 ]

check: setup-dev ## types, lint, format and the rules of the code
	@tools/test.sh check

test: setup-dev reference-if-go ## every test but cluster and bench: check, unit, native, kernel, lab
	@tools/test.sh all

test-unit: setup ## tests that need nothing but Node
	@tools/test.sh unit

test-kernel: setup-dev reference-if-go ## tests in network namespaces (root)
	@tools/test.sh kernel

test-lab: setup ## every scenario of the lab (root)
	@tools/test.sh lab

cluster: upstream reference image ## prove it in a real Kubernetes of two nodes on this machine (Go, root)
	@tools/test.sh cluster

mutants: setup-dev reference-if-go ## change the code in known ways and see the right test fail (root); ARGS=WORD for some rows
	@node_modules/.bin/node --disable-warning=ExperimentalWarning tools/mutants.ts $(ARGS)

demo: setup ## a small VPC in network namespaces, and what Fairlead does in it
	@bin/fairlead lab demo

bench: setup reference upstream image ## measure against the reference plugins, write bench/results.json (Go, root); ARGS="--only load"
	@umask 022; $(MAKE) --no-print-directory -s build/bench-spawn build/bench-traffic
	@node_modules/.bin/node bench/main.ts $(ARGS)

image: ## the container image, made without a registry: build/fairlead-image.tar
	@tools/machine.sh image
	@tools/machine.sh modules
	@umask 022; $(MAKE) --no-print-directory -s -C native
	@tools/image.sh $(ARGS)

build/bench-%: bench/%.c
	mkdir -p build
	gcc -std=gnu11 -O2 -Wall -Wextra -Werror -o $@.new $< && mv $@.new $@

clean: ## remove build/; node_modules stays, and is looked over again by the next setup
	rm -rf build
