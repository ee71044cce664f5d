# Headrace. `make demo` and `make test` are all that a new machine needs; `make help` tells the rest.
.DEFAULT_GOAL := help
.PHONY: help demo up test test-docker test-frameworks check lint types contracts protos protos-check sizes bench bench-long import-trial faults clean
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
NODE := tools/node/node_modules/.bin

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# A broker that lives for seconds starts twice as fast without the compiler for those that live for hours.
SHORT_JAVA := JDK_JAVA_OPTIONS="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
MAY_MOUNT := $(if $(filter 0,$(shell id -u)),,unshare --user --mount --map-current-user --keep-caps)

demo: .venv/ready ## start Headrace, run the cookie factory to its end, stop
	@$(BIN)/python tools/demo.py

up: .venv/ready ## start Headrace and leave it running (Ctrl-C stops it)
	@$(BIN)/headrace up --data-dir .run/data

# Tests mostly wait for one another's processes. Each job has backends of its own.
JOBS ?= 2

test: .venv/ready ## all tests, on real PostgreSQL, Kafka and MinIO; JOBS=2 at the same time
	@$(BIN)/python -m headrace_kit.testing.backends install
	$(SHORT_JAVA) $(BIN)/pytest -n $(JOBS) --dist loadgroup --no-loadscope-reorder -m "not docker and not faults and not frameworks"

test-docker: .venv/ready ## the tests that need a Docker engine: testcontainers and the Headrace image
	$(BIN)/pytest -m docker

test-frameworks: .venv/ready ## MLflow's client with PyTorch, Lightning and Keras; once on a machine, 3 GB are fetched
	$(BIN)/pytest -m frameworks

check: lint types contracts protos-check sizes ## everything that is checked without running it

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready $(NODE)/pyright
	$(BIN)/mypy
	$(NODE)/pyright --warnings

contracts: .venv/ready
	$(BIN)/lint-imports --no-cache

protos: ## generate libs/headrace/api from protos/
	tools/protos.sh

protos-check: $(NODE)/pyright
	tools/protos_check.sh

sizes: .venv/ready
	@$(BIN)/python tools/sizes.py

PEERS ?= 1

bench: .venv/ready ## Headrace beside MLflow, FastTrackML, W&B and the raw limits: 20 minutes or more; PEERS=0 leaves the peers out
	@$(BIN)/python -m headrace_kit.testing.backends install
	@$(BIN)/python bench/start.py
	@$(BIN)/python bench/run.py --readme $(if $(filter 0,$(PEERS)),--no-peers) $(ARGS)

bench-long: .venv/ready ## what `make bench` leaves out for its length: a million runs, 200 million points
	@$(BIN)/python -m headrace_kit.testing.backends install
	@$(BIN)/python bench/run.py --only search,growth --long $(if $(filter 0,$(PEERS)),--no-peers) $(ARGS)

import-trial: .venv/ready ## move an MLflow of 1,000 runs and 5 million points here, killed half-way: 10 minutes
	@$(BIN)/python -m headrace_kit.testing.backends install
	@$(BIN)/python bench/moving.py $(ARGS)

COUNT ?= 500
SEED ?= 1

faults: .venv/ready ## kill -9 and freeze every process under load: COUNT=500 schedules from SEED=1 on, JOBS=2 at a time; before the first, full disks
	@if [ $(SEED) = 1 ]; then $(SHORT_JAVA) $(MAY_MOUNT) $(BIN)/pytest tests/faults/test_full_disks.py; fi
	@$(SHORT_JAVA) PYTHONPATH=tests $(BIN)/python tests/faults/run.py --count $(COUNT) --seed $(SEED) --jobs $(JOBS)

lock: ## write requirements/*.txt anew from pyproject.toml
	tools/lock.sh

clean: ## remove what was made here (not the cache of backends)
	rm -rf .venv .run build dist tools/node/node_modules

.venv/ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Headrace needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 ...")'
	@echo "making the environment in .venv (a minute or two, once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Exact versions stand in package.json; a lock would have to hold buf's packages for platforms that not every mirror has.
$(NODE)/pyright: tools/node/package.json
	@command -v npm >/dev/null || { echo "make check needs npm (Node.js 18 or newer): apt-get install nodejs npm"; exit 1; }
	@cd tools/node && npm install --silent --no-package-lock --no-audit --no-fund
	@touch $@
