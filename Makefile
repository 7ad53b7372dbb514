# Start with `make demo` (creates a story) and `make test`. `make help` lists all targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Any interpreter from 3.11 on; `make PYTHON=... setup` chooses one.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
CODE := servicekit offline_writer story_service voice_service storage_service gateway tale_client tale_cluster standins tests tools benchmarks docs/examples

# Compiled once, not by every worker and every process that a test starts.
export PYTHONDONTWRITEBYTECODE :=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test test-long test-system lint types drift format hooks stubs locks docs dist sbom bench evaluate examples clean

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: .venv/.ready-dev ## Creates .venv with every dependency at its locked version

# Installs $(2) into the environment $(1). uv is fast; it does not read pip's configuration, so pip installs where uv finds
# no index.
install = { $(1)/bin/python -m pip install --quiet --require-hashes --requirement requirements/uv.txt && \
	$(1)/bin/python -m uv pip install --quiet --python $(1)/bin/python --require-hashes --requirement $(2) 2>/dev/null || \
	$(1)/bin/python -m pip install --quiet --require-hashes --requirement $(2); }

# An interrupted set-up leaves no stamp file and is repeated, from the beginning if pip is missing.
.venv/.ready: requirements/cluster.txt requirements/uv.txt pyproject.toml
	@[[ -n "$(PYTHON)" ]] || { echo "Python 3.11 or newer is needed; name one with make PYTHON=/path/to/python3 setup" >&2; exit 1; }
	@echo "Setting up .venv (once) …"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(call install,.venv,requirements/cluster.txt)
	@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# The tests also need checkers, and Node for the servers that stand in for the paid APIs.
.venv/.ready-dev: .venv/.ready requirements/dev.txt tests/upstreams/package-lock.json
	@echo "Adding what the tests need (once) …"
	@$(call install,.venv,requirements/dev.txt)
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --silent --prefix tests/upstreams
	@touch $@

.venv-stubs/.ready: requirements/stubs.txt
	@.venv-stubs/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv-stubs
	@$(call install,.venv-stubs,requirements/stubs.txt)
	@touch $@

.venv-sbom/.ready: requirements/sbom.txt
	@.venv-sbom/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv-sbom
	@$(call install,.venv-sbom,requirements/sbom.txt)
	@touch $@

# Only variables of the command line count: NAME and the like are often set in an environment for other purposes.
given = $(if $(filter command line,$(origin $(1))),$(2) '$(subst ','\'',$($(1)))')

demo: .venv/.ready ## Creates one story: make demo NAME=Mia AGE=6 INTERESTS="dragons, the sea" MORAL=kindness MINUTES=3
	@$(BIN)/tale demo $(call given,NAME,--name) $(call given,AGE,--age) $(call given,GENDER,--gender) \
		$(call given,INTERESTS,--interests) $(call given,WISH,--wish) $(call given,MORAL,--moral) \
		$(call given,THEME,--theme) $(call given,MINUTES,--minutes) $(call given,OUT,--out)

test: setup ## Runs all tests except the long ones and those that need Docker, Debian packages or root
	$(BIN)/python -m pytest -m "not long and not system" -n 4 --dist loadfile

test-long: setup ## Runs the long tests: soaks, large volumes, and properties with examples that are new in each run
	$(BIN)/python -m pytest -m long --timeout 1800 --hypothesis-profile random
	$(BIN)/python -m pytest -m "hypothesis and not long and not system" -n 4 --dist loadfile --hypothesis-profile random

test-system: setup ## Runs the tests that need Docker, Debian packages or root
	$(BIN)/python -m pytest -m system --timeout 900

lint: setup ## Checks code style and contracts
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code

types: setup ## Checks types
	$(BIN)/mypy
	$(BIN)/mypy standins tests tools benchmarks docs/examples

drift: setup .venv-stubs/.ready ## Checks that stubs, generated documents and locks are current
	.venv-stubs/bin/python tools/stubs.py --check
	$(BIN)/python -m tools.docs --check
	$(BIN)/python tools/locks.py --check

format: setup ## Formats the code
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)
	$(BIN)/buf format --write

hooks: setup .venv-stubs/.ready ## Installs the checks that run before each commit (pre-commit)
	$(BIN)/pre-commit install

stubs: .venv-stubs/.ready ## Generates the stubs from protos/
	.venv-stubs/bin/python tools/stubs.py

docs: setup ## Generates docs/{api,compatibility,configuration,errors,metrics}.md, .env.example and the settings in docker-compose.yml
	$(BIN)/python -m tools.docs

locks: setup ## Updates requirements/*.txt from pyproject.toml; `make locks UPGRADE=1` takes newer versions
	$(BIN)/python tools/locks.py $(if $(UPGRADE),--upgrade)

dist: setup ## Builds the client's wheel and sdist into dist/
	$(BIN)/hatchling build --directory dist

# What the locks pin; `docker build --target sbom` lists what an image has.
sbom: .venv-sbom/.ready ## Lists the packages of the client and of each service in dist/sbom/*.cdx.json (CycloneDX)
	@mkdir -p dist/sbom
	@for lock in client gateway story voice storage; do \
		$(<D)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --validate \
			--output-file dist/sbom/$$lock.cdx.json requirements/$$lock.txt; done

bench: setup ## Prints the benchmark table
	$(BIN)/python -m benchmarks

evaluate: setup ## Measures the stories of the writers; ARGS="--help" shows the options
	$(BIN)/python -m benchmarks.evaluate $(ARGS)

examples: setup ## Writes docs/examples/stories with the embedded writer
	$(BIN)/python -m benchmarks.story_examples

clean: ## Removes environments and caches
	rm -rf .venv .venv-stubs .venv-sbom .mypy_cache .ruff_cache .pytest_cache .hypothesis
