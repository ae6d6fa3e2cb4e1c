# Caducée: everything a developer runs. `make help` lists it. Needs Python ≥ 3.11, git and make; the rest goes into .venv.
# pip keeps the settings of your environment (PIP_*, pip.conf): nothing here names a package index.

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet
PRODUCT := server crypto directory
# Extra arguments for pytest: make test PYTEST="-k imap -x" (a debugger wants -n0 too)
PYTEST ?=
# One process a core, each file in one of them, in order: the long ones of durability/ begin early.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests demo check repo test soak fuzz bench format docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.project ## build .venv and the command .venv/bin/caducee, no more

demo: setup ## play the main job on free ports, then stay up to explore (ONCE=1: end by itself)
	@$(BIN)/caducee demo $(if $(ONCE),--once)

test: setup-tests ## every check: formatting, ruff, mypy, imports, house rules, then all tests
	@sh tests/install-debian-packages
	@$(MAKE) --no-print-directory check repo
	@echo "Tests"
	@$(BIN)/pytest -q -m "not soak" --ignore=tests/repo $(PARALLEL) $(PYTEST)

# Cheapest first: a misplaced comma is told in a second.
check:
	@echo "Formatting and lint (ruff)"
	@$(BIN)/ruff format --check --quiet . || { echo "Run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@echo "Types (mypy --strict)"
	@$(BIN)/mypy $(addprefix -p ,$(PRODUCT))
	@echo "Who may import whom (import-linter)"
	@$(BIN)/lint-imports > $(VENV)/.import-linter 2>&1 || { cat $(VENV)/.import-linter; exit 1; }

repo:
	@echo "House rules"
	@$(BIN)/pytest -q tests/repo

soak: setup-tests ## the full form of the long tests (kill -9 while 2,000 messages pass …)
	@sh tests/install-debian-packages
	@$(BIN)/pytest -m soak $(PYTEST)

fuzz: setup-tests ## every parser of outside bytes, FUZZ_SECONDS each (default 60)
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-60} $(BIN)/pytest -q tests/fuzz --timeout=0 $(PYTEST)

bench: setup-tests ## speed: one JSON line a measure (BENCH="name …" for some of them)
	@$(BIN)/python -m tests.bench $(BENCH)

format: setup-tests ## put the code in its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: setup-tests ## the guide as a web site in site/
	@$(BIN)/mkdocs build --strict --site-dir site

clean: ## forget .venv and what tools left behind
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

setup-tests: $(VENV)/.tests

# The files below are stamps: touched when the step is done, so that a second run costs nothing.
# Debian splits venv and ensurepip from Python, hence the two questions.
$(VENV)/.environment:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not. Debian 12: apt-get install python3 python3-venv;"; \
	  echo "elsewhere install it and run: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "This Python cannot make a virtual environment with pip. Debian, Ubuntu: apt-get install python3-venv;"; \
	  echo "Fedora: dnf install python3-pip; elsewhere install Python with venv and ensurepip."; exit 1; }
	@echo "Setup: virtual environment $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# --require-hashes refuses the project itself, which has no hash; its build backend stands in the lock instead.
$(VENV)/.project: $(VENV)/.environment requirements/runtime.txt pyproject.toml
	@echo "Setup: libraries of requirements/runtime.txt (pinned, hashes checked)"
	@$(PIP) --require-hashes -r requirements/runtime.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@
	@echo "Setup: done, the command is $(BIN)/caducee"

$(VENV)/.tests: $(VENV)/.project requirements/tests.txt
	@echo "Setup: test tools of requirements/tests.txt (pinned, hashes checked)"
	@$(PIP) --require-hashes -r requirements/tests.txt
	@touch $@
