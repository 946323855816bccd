# `make test` and `make compare` need Python 3.11 to 3.13 and no compiler; they create .venv and install into it.
# Which registry pip asks is pip's own setting. Another Python beside the first: make test PYTHON=python3.13 VENV=.venv313

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
VECTORS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
UNFINISHED := $(VENV)/.unfinished

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help test nightly compare bench claims mutants gpu-check gpu-train clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

test: $(STAMP) ## Run ruff, the format check and all tests, mypy among them; ARGS goes to pytest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

nightly: $(STAMP) ## Run all tests, every combination, with many drawn cases; an hour or more
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal --emul-profile emul-nightly $(ARGS)

compare: $(STAMP) ## Train natively and with emulated arithmetic, and compare; ARGS=--quick for a short run
	$(BIN)/emul compare $(ARGS)

bench: $(STAMP) ## Run the benchmarks; ARGS goes to pytest
	$(BIN)/python -m pytest benchmarks $(ARGS)

claims: $(STAMP) ## Try what papers claim of trainings, with five seeds; some ten minutes; ARGS="--only luq,mvue"
	$(BIN)/python -m benchmarks.claims $(ARGS)

mutants: $(STAMP) ## Put the verifier to the proof: known bugs, false alarms, power; some minutes
	$(BIN)/python -m property_tests.mutants

# No installing: on a machine with a card the interpreter that has torch and numba-cuda is enough, PYTHON names it.
gpu-check: ## On a machine with a card: equality, speed, a report; VECTORS=dir for recorded vectors too
	$(PYTHON) -m benchmarks.gpu $(if $(VECTORS),--vectors $(VECTORS)) $(ARGS)

gpu-train: ## On a machine with a card: train a GPT natively, in FP8 and with 12-bit accumulators, a report
	$(PYTHON) -m benchmarks.gpu.train $(ARGS)

clean: ## Remove caches and build products; .venv and runs stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	find . -path './$(VENV)' -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

# A killed pip can leave half a package that it later takes for a whole one: an install that was begun and not ended
# starts again from an empty folder. The stamp comes last, so an install that has ended is not repeated.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "emul needs Python 3.11 to 3.13, and '$(PYTHON)' is not: name one, as in: make test PYTHON=python3.13" >&2; exit 1; }
	@if [ -e $(UNFINISHED) ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  echo "creating $(VENV)"; $(PYTHON) -m venv --clear $(VENV); fi
	@touch $(UNFINISHED)
	$(PIP) install -c constraints.txt torch setuptools
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[torch,test,report,cuda12]'
	@rm $(UNFINISHED)
	@touch $@
