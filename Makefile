# The ways in, each with the words `make help` shows. All but `help` need what `make setup` installs into .venv.

PYTHON := .venv/bin/python
# Passed to pytest: make test ARGS="-k budget -x"; with -n 0 in one process.
ARGS ?=
# A process for each core, up to what the memory of an ordinary machine holds: each has a Postgres and a Redis of its own.
SPREAD := -p tests.spread --numprocesses logical --maxprocesses 4
# What a chaos run starts from and how long it goes on; it prints the seed, so that a failure can be repeated.
SEED ?= random
MINUTES ?= 10

.DEFAULT_GOAL := help
.PHONY: help setup demo run test check check-code check-types bench chaos hosts faults mutants model-mutants broker-conformance spells lock

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-25s %s\n", $$1, $$2 }'

setup: ## install everything into .venv; instant when nothing changed
	@.ci/setup

demo: setup ## start the whole platform here, publish a spell, cast it, see what it costs
	@.venv/bin/spell demo

run: setup ## start the platform with its data in .data and keep it running
	@.venv/bin/spell dev --data-dir .data

test: setup ## run the tests (under ten minutes on two cores)
	$(PYTHON) -m pytest $(SPREAD) --ignore=tests/chaos $(ARGS)

check: check-code check-types ## run everything that judges the code without running it (make -j2 check: on two cores)

check-code: setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/lint-imports
	$(PYTHON) -m pytest -q tests/test_tidy.py tests/test_processes.py
	$(PYTHON) -m spells.build --check

check-types: setup
	.venv/bin/basedpyright

bench: setup ## measure against the peers and write bench/results
	$(PYTHON) -m bench

chaos: setup ## kill and restart parts under load: make chaos SEED=7 MINUTES=30
	SEED=$(SEED) MINUTES=$(MINUTES) OPENAPI_EXAMPLES=100 $(PYTHON) -m pytest -s tests/chaos tests/api/test_openapi_fuzz.py \
	    --ignore=tests/chaos/test_hosts.py $(ARGS)

hosts: setup ## run the platform on several hosts and cut their links: make hosts SEED=7 MINUTES=30 (links: as root)
	SEED=$(SEED) MINUTES=$(MINUTES) $(PYTHON) -m pytest -s tests/chaos/test_hosts.py $(ARGS)

faults: setup ## make each planted mistake in a copy and expect the tests to notice: make faults ARGS="NAME ..."
	$(PYTHON) -m tests.planted_faults.run $(ARGS)

mutants: setup ## make small mistakes in the SQL of money, one by one, and expect the tests to notice
	$(PYTHON) -m tests.mutants.run $(ARGS)

model-mutants: setup ## the same in the pure rules of money
	$(PYTHON) -m tests.mutants.model $(ARGS)

broker-conformance: setup ## run Dramatiq's own tests on our broker
	$(PYTHON) -m tests.conformance.run $(ARGS)

spells: setup ## build the example spells from their sources
	$(PYTHON) -m spells.build

# uv keeps the versions it finds in the file it writes; its own first line, which this file's own replaces, is left out.
lock: setup ## write requirements.lock and mutants.lock anew: make lock ARGS=--upgrade
	@sed 1d requirements.lock > .build/requirements.tmp
	.build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $(ARGS) \
	    --extra server --extra local --extra toolchain --group dev --group bench \
	    --output-file .build/requirements.tmp pyproject.toml
	@{ sed -n 1p requirements.lock; cat .build/requirements.tmp; } > .build/requirements.new
	@mv .build/requirements.new requirements.lock
	@rm .build/requirements.tmp
	@.build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $(ARGS) \
	    --constraint requirements.lock --group mutants --output-file mutants.lock
